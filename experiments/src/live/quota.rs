//! CPU quotas for processes: control groups of the kernel, version 1 or 2, whichever there is.

use crate::spec::Machine;
use anyhow::Context;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where control groups with a CPU controller can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    parent: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// A control group of ours with a quota. Dropping it removes the group, which must be empty by then.
#[derive(Debug)]
pub(super) struct Cage(PathBuf);

impl Hierarchy {
    /// The first place where this process may make a group with a quota: its own group, or one above it.
    ///
    /// # Errors
    /// When there is none; the message says what was tried.
    pub(super) fn find() -> anyhow::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
        let groups = fs::read_to_string("/proc/self/cgroup").context("reading /proc/self/cgroup")?;
        let candidates = candidates(&mounts, &groups);
        let mut failures = Vec::new();
        for hierarchy in candidates {
            match hierarchy.probe() {
                Ok(()) => return Ok(hierarchy),
                Err(error) => failures.push(format!("{}: {error}", hierarchy.parent.display())),
            }
        }
        let tried = if failures.is_empty() { "no CPU controller is mounted".into() } else { failures.join("; ") };
        anyhow::bail!("CPU quotas need a control group that can be written to ({tried})")
    }

    /// Makes a group and takes it away again.
    fn probe(&self) -> io::Result<()> {
        let machine = Machine { cpu_quota_us: 100_000, ..Machine::default() };
        drop(self.cage("probe", &machine)?);
        Ok(())
    }

    /// Puts process `pid` under the quota of `machine`.
    ///
    /// # Errors
    /// When the group can't be written to.
    pub(super) fn confine(&self, name: &str, pid: u32, machine: &Machine) -> anyhow::Result<Cage> {
        let cage = self.cage(name, machine).with_context(|| format!("making a control group for {name}"))?;
        fs::write(cage.0.join("cgroup.procs"), pid.to_string())
            .with_context(|| format!("putting {name} (process {pid}) into {}", cage.0.display()))?;
        Ok(cage)
    }

    fn cage(&self, name: &str, machine: &Machine) -> io::Result<Cage> {
        let group = self.parent.join(format!("shelfwire-{}-{name}", std::process::id()));
        fs::create_dir(&group)?;
        let cage = Cage(group);
        let (quota_us, period_us) = (machine.cpu_quota_us, machine.cpu_period_us);
        match self.version {
            Version::V1 => {
                write(&cage.0.join("cpu.cfs_period_us"), &period_us.to_string())?;
                write(&cage.0.join("cpu.cfs_quota_us"), &quota_us.to_string())?;
            }
            Version::V2 => write(&cage.0.join("cpu.max"), &format!("{quota_us} {period_us}"))?,
        }
        Ok(cage)
    }

    /// For people.
    pub(super) fn name(&self) -> &'static str {
        match self.version {
            Version::V1 => "cgroup v1",
            Version::V2 => "cgroup v2",
        }
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            tracing::warn!(%error, group = %self.0.display(), "a control group is left behind");
        }
    }
}

/// Does not create the file: a controller that is not there must not go unnoticed.
fn write(file: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(file)?, text.as_bytes())
}

/// Where groups may be made, by the contents of `/proc/self/mounts` and `/proc/self/cgroup`: version 1 before 2, since a
/// machine that has both has its CPU controller there; and own groups before those above them.
fn candidates(mounts: &str, groups: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(mount), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let version = match kind {
            "cgroup" if options.split(',').any(|option| option == "cpu") => Version::V1,
            "cgroup2" => Version::V2,
            _ => continue,
        };
        let own = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = match version {
                Version::V1 => controllers.split(',').any(|controller| controller == "cpu"),
                Version::V2 => controllers.is_empty(),
            };
            is_it.then_some(path)
        });
        let own = Path::new(own.unwrap_or("/"));
        for group in own.ancestors() {
            let parent = Path::new(mount).join(group.strip_prefix("/").unwrap_or(group));
            found.push((version == Version::V2, Hierarchy { parent, version }));
        }
    }
    found.sort_by_key(|(is_second, _)| *is_second);
    found.into_iter().map(|(_, hierarchy)| hierarchy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_looked_for_from_the_own_one_upwards() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\nproc /proc proc rw 0 0\n";
        let found = candidates(mounts, "0::/user.slice/session\n");
        let parents: Vec<_> = found.iter().map(|hierarchy| hierarchy.parent.to_str().unwrap()).collect();
        assert_eq!(parents, ["/sys/fs/cgroup/user.slice/session", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup/"]);
    }

    #[test]
    fn a_machine_with_both_versions_has_its_cpu_controller_in_the_first() {
        let mounts = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n";
        let found = candidates(mounts, "3:cpuset:/x\n2:cpu,cpuacct:/\n0::/\n");
        let parents: Vec<_> = found.iter().map(|hierarchy| hierarchy.parent.to_str().unwrap()).collect();
        assert_eq!(parents, ["/sys/fs/cgroup/cpu/", "/sys/fs/cgroup/unified/"]);
        assert_eq!(found[0].version, Version::V1);
    }
}
