//! What one run of a machine may have at a time, and no other: a lease of a name.

use std::{
    io,
    os::linux::net::SocketAddrExt as _,
    os::unix::net::{SocketAddr, UnixListener},
};

/// The right to what a name stands for, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lease {
    _name: UnixListener,
}

impl Lease {
    /// Leases `shelfwire-{name}`. An abstract socket name exists once a machine and goes with its process: a lock that
    /// nobody has to clean up.
    ///
    /// # Errors
    /// `AddrInUse` if it is leased, by this process or another.
    pub(crate) fn take(name: &str) -> io::Result<Self> {
        let address = SocketAddr::from_abstract_name(format!("shelfwire-{name}"))?;
        Ok(Self { _name: UnixListener::bind_addr(&address)? })
    }
}
