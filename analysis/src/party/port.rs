//! What is sent, as people write it: `80`, `53/udp`, `icmp`.

use policy_compiler::model::Protocol;
use policy_compiler::verdict::Traffic;

/// Why a text is no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no port: must be NUMBER or NUMBER/PROTOCOL, such as 80 or 53/udp")]
pub struct PortError(pub String);

/// Reads `NUMBER[/PROTOCOL]`, TCP where none is written; the protocol in any case.
///
/// # Errors
/// When it is not of that form, or the number is not between 1 and 65535.
pub fn parse_port(text: &str) -> Result<(Protocol, u16), PortError> {
    let wrong = || PortError(text.to_owned());
    let (number, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    let protocol = Protocol::parse(&protocol.to_ascii_uppercase()).ok_or_else(wrong)?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|number| digits && *number > 0).ok_or_else(wrong)?;
    Ok((protocol, number))
}

/// The same, and `icmp` and `icmpv6`, which have no ports.
///
/// # Errors
/// When it is neither.
pub fn parse_traffic(text: &str) -> Result<Traffic, PortError> {
    match text.to_ascii_lowercase().as_str() {
        "icmp" => Ok(Traffic::Other(1)),
        "icmpv6" => Ok(Traffic::Other(58)),
        _ => parse_port(text).map(|(protocol, port)| Traffic::Port(protocol, port)),
    }
}
