//! CPU quotas for real processes: control groups of the kernel, version 1 or 2, whichever there is.

use crate::cpu::Quota;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where control groups with a CPU controller can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    parent: PathBuf,
    pub(crate) version: Version,
}

/// Version of the kernel's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// A control group of ours with a quota. Dropping it removes the group, which must be empty by then.
#[derive(Debug)]
pub struct Group {
    pub(crate) folder: PathBuf,
}

/// Why a process can't have a quota.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Which controllers there are is not known.
    #[error("looking for control groups in {file}: {error}")]
    Unknown {
        /// What could not be read.
        file: &'static str,
        /// Why.
        error: io::Error,
    },
    /// No group can be made.
    #[error(
        "CPU quotas need a control group that can be written to, of version 1, or of version 2 below a group with \
         `cpu` in its cgroup.subtree_control ({tried})"
    )]
    None {
        /// Where it was tried and what came back.
        tried: String,
    },
    /// The group was not made, or the process did not get into it.
    #[error("putting {name} (process {pid}) into a control group below {}: {error}", parent.display())]
    Refused {
        /// What the process is.
        name: String,
        /// Its id.
        pid: u32,
        /// Where the group was to be.
        parent: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

impl Hierarchy {
    /// The first place where this process may make a group with a quota: its own group, or one above it.
    ///
    /// # Errors
    /// When there is none; the message says what was tried.
    pub fn find() -> Result<Self, CgroupError> {
        let read = |file| fs::read_to_string(file).map_err(|error| CgroupError::Unknown { file, error });
        Self::first(candidates(&read("/proc/self/mounts")?, &read("/proc/self/cgroup")?))
    }

    fn first(candidates: Vec<Self>) -> Result<Self, CgroupError> {
        let mut failures = Vec::new();
        for hierarchy in candidates {
            match hierarchy.probe() {
                Ok(()) => return Ok(hierarchy),
                Err(error) => failures.push(format!("{}: {error}", hierarchy.parent.display())),
            }
        }
        let tried = if failures.is_empty() { "no CPU controller is mounted".into() } else { failures.join("; ") };
        Err(CgroupError::None { tried })
    }

    /// Makes a group and takes it away again, and looks whether a process could get into it.
    fn probe(&self) -> io::Result<()> {
        let group = self.group("probe", Quota { quota_us: 100_000, period_us: 100_000 })?;
        if self.version == Version::V2 {
            // Below a group that has processes itself, the kernel makes groups that take none.
            let kind = fs::read_to_string(group.folder.join("cgroup.type"))?;
            if kind.trim() != "domain" {
                return Err(io::Error::other(format!("a group here is `{}`, not `domain`", kind.trim())));
            }
            // Moving takes this permission on what both groups are below of, which is the parent: see `candidates`.
            fs::OpenOptions::new().write(true).open(self.parent.join("cgroup.procs"))?;
        }
        Ok(())
    }

    /// Puts process `pid` under `quota`.
    ///
    /// # Errors
    /// [`CgroupError::Refused`]
    pub fn confine(&self, name: &str, pid: u32, quota: Quota) -> Result<Group, CgroupError> {
        let confined = self.group(name, quota).and_then(|group| {
            write(&group.folder.join("cgroup.procs"), &pid.to_string())?;
            Ok(group)
        });
        confined.map_err(|error| CgroupError::Refused { name: name.into(), pid, parent: self.parent.clone(), error })
    }

    fn group(&self, name: &str, Quota { quota_us, period_us }: Quota) -> io::Result<Group> {
        let folder = self.parent.join(format!("shelfwire-{}-{name}", std::process::id()));
        // A killed process with our number may have left one behind. One that is in use stays, and is an error.
        let _ = fs::remove_dir(&folder);
        fs::create_dir(&folder)?;
        let group = Group { folder };
        let file = |name| group.folder.join(name);
        match self.version {
            Version::V1 => {
                write(&file("cpu.cfs_period_us"), &period_us.to_string())?;
                write(&file("cpu.cfs_quota_us"), &quota_us.to_string())?;
            }
            Version::V2 => write(&file("cpu.max"), &format!("{quota_us} {period_us}"))?,
        }
        Ok(group)
    }

    /// For people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.version {
            Version::V1 => "cgroup v1",
            Version::V2 => "cgroup v2",
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            tracing::warn!(%error, group = %self.folder.display(), "a control group is left behind");
        }
    }
}

/// Does not create the file: a controller that is not there must not go unnoticed.
fn write(file: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(file)?, text.as_bytes())
}

/// Where groups may be made, by the contents of `/proc/self/mounts` and `/proc/self/cgroup`: version 1 before 2, since
/// a machine that has both has its CPU controller there; and own groups before those above them.
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
        let mounts = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n";
        let found = candidates(mounts, "3:cpuset:/x\n2:cpu,cpuacct:/\n0::/\n");
        let parents: Vec<_> = found.iter().map(|hierarchy| hierarchy.parent.to_str().unwrap()).collect();
        assert_eq!(parents, ["/sys/fs/cgroup/cpu/", "/sys/fs/cgroup/unified/"]);
        assert_eq!(found[0].version, Version::V1);
    }

    #[test]
    fn a_place_without_a_cpu_controller_is_refused_by_name_and_left_as_it_was() {
        let parent = std::env::temp_dir().join(format!("shelfwire-no-controller-{}", std::process::id()));
        fs::create_dir(&parent).unwrap();
        for version in [Version::V1, Version::V2] {
            let refused =
                Hierarchy::first(vec![Hierarchy { parent: parent.clone(), version }]).unwrap_err().to_string();
            assert!(refused.contains(parent.to_str().unwrap()) && refused.contains("No such file"), "{refused}");
        }
        fs::remove_dir(&parent).expect("empty, as before");
    }
}
