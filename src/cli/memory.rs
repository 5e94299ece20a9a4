//! What the system knows of a process: the memory that it holds.

/// Resident memory in bytes; none where the process is gone, or the system does not say (Linux does).
pub(crate) fn resident(pid: u64) -> Option<u64> {
    of_status(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn of_status(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

/// `12.9 MB`.
pub(crate) fn shown(bytes: u64) -> String {
    const MEGA: u64 = 1_000_000;
    format!("{}.{} MB", bytes / MEGA, bytes % MEGA / (MEGA / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_is_read_and_shown() {
        let bytes = of_status("Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t  12600 kB\n");
        assert_eq!(bytes, Some(12_902_400));
        assert_eq!(shown(12_902_400), "12.9 MB");
        assert_eq!(of_status("Name:\tx\n"), None, "a process that is over");
        assert!(resident(u64::from(std::process::id())).is_some_and(|bytes| bytes > 100_000));
    }
}
