//! What Prometheus knows of every process, under the names that it has everywhere.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

impl Process {
    pub(super) fn new(started: SystemTime) -> Self {
        Self { started: started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()) }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let started = ConstGauge::new(self.started);
        let name = "process_start_time_seconds";
        started.encode(encoder.encode_descriptor(
            name,
            "Start of the process since 1970",
            None,
            started.metric_type(),
        )?)?;
        let Some(bytes) = resident() else { return Ok(()) };
        let resident = ConstGauge::new(bytes);
        let name = "process_resident_memory_bytes";
        resident.encode(encoder.encode_descriptor(name, "Memory in use", None, resident.metric_type())?)
    }
}

/// In bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_has_some_memory() {
        assert!(super::resident().unwrap() > 1 << 20);
    }
}
