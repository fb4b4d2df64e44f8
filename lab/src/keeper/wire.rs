//! What keepers and those who ask them say to each other, and where they meet.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    str::FromStr,
};

use nix::unistd::Uid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Place;
use crate::PodNetwork;

/// An abstract address has 107 bytes.
const LONGEST_NAME: usize = 63;

/// The name of a kept lab: letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LabName(String);

/// A text that no lab can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be of letters, digits, '.', '_' and '-', at most 63, and start with a letter or digit")]
pub struct InvalidName;

impl LabName {
    /// Where the keepers of a user listen, without the labs' names.
    fn prefix(user: Uid) -> String {
        format!("podwall-lab-{user}-")
    }

    /// Where the keeper of this lab listens, after the zero byte of abstract addresses.
    pub(super) fn address(&self, user: Uid) -> String {
        Self::prefix(user) + &self.0
    }

    /// The name of the lab whose keeper listens there.
    pub(super) fn from_address(address: &str, user: Uid) -> Option<Self> {
        address.strip_prefix(&Self::prefix(user))?.parse().ok()
    }
}

impl FromStr for LabName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let valid = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= LONGEST_NAME
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidName) }
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What is asked of a keeper: one line a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Request {
    /// Answered by a [`Description`].
    Describe,
    /// Answered by `Result<Vec<Straggler>, String>`: what was ended in the lab. Then the keeper ends.
    Down,
}

/// A lab that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// What it is called.
    pub name: LabName,
    /// How pods of several nodes reach each other.
    pub network: PodNetwork,
    /// Since when it stands, in seconds since 1970.
    pub since: u64,
    /// The number of the process that keeps it.
    pub keeper: u32,
    /// Its nodes, by name.
    pub nodes: Vec<Place>,
    /// Its pods, by name.
    pub pods: Vec<Place>,
}

/// Says something, as a line.
pub(super) fn say(mut to: impl Write, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Hears a line.
pub(super) fn hear<T: DeserializeOwned>(from: impl Read) -> io::Result<T> {
    let mut line = String::new();
    if BufReader::new(from).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_again_in_its_users_addresses_only() {
        let (user, other) = (Uid::from_raw(1000), Uid::from_raw(100));
        let name: LabName = "0-shop_2.x".parse().unwrap();
        assert_eq!(name.address(user), "podwall-lab-1000-0-shop_2.x");
        assert_eq!(LabName::from_address(&name.address(user), user), Some(name.clone()));
        assert_eq!(LabName::from_address(&name.address(user), other), None);
        // Nor is another user's, whose number begins alike.
        assert_eq!(LabName::from_address(&name.address(other), Uid::from_raw(1)), None);
    }

    #[test]
    fn a_name_fits_an_address_and_a_command_line() {
        let longest = "a".repeat(LONGEST_NAME);
        let address = longest.parse::<LabName>().unwrap().address(Uid::from_raw(u32::MAX));
        assert!(address.len() <= 107, "{address}");
        for invalid in ["", "-a", ".a", "a b", "a/b", "é", &(longest + "a")] {
            assert_eq!(invalid.parse::<LabName>(), Err(InvalidName), "{invalid:?}");
        }
    }
}
