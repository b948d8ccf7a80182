//! Ports for processes that do not listen yet. To find a port free and to name it to a process that then listens leaves
//! a moment in which somebody else finds it free, too. So each is claimed first, across all processes of the machine
//! that claim theirs here, and for as long as it is needed.

use crate::os::Lease;
use backbone::env::Env;
use std::{io, net::TcpListener};

/// Below those that the system gives to outgoing connections.
const FIRST: u16 = 15_000;
/// How many there are.
const COUNT: u16 = 16_000;
/// How many are looked at before this gives up: with half of them taken, all fail once in 10^30.
const DRAWS: usize = 100;

/// A port of the loopback interface that nobody listens on but whoever its owner tells to. Dropping it ends the claim.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lease: Lease,
}

impl Port {
    /// Claims one.
    ///
    /// # Errors
    /// If no port between 15,000 and 31,000 seems to be left.
    pub fn claim() -> io::Result<Self> {
        let env = Env::tokio();
        Self::first_free((0..DRAWS).map(|_| {
            let mut random = [0; 2];
            env.random(&mut random);
            FIRST + u16::from_le_bytes(random) % COUNT
        }))
    }

    /// Claims the first of `numbers` that nobody has claimed and nobody listens on.
    fn first_free(mut numbers: impl Iterator<Item = u16>) -> io::Result<Self> {
        let claim = |number| {
            let lease = Lease::take(&format!("port-{number}")).ok()?;
            TcpListener::bind(("127.0.0.1", number)).ok()?;
            Some(Self { number, _lease: lease })
        };
        let none = || io::Error::other(format!("found no free port between {FIRST} and {}", FIRST + COUNT));
        numbers.find_map(claim).ok_or_else(none)
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{path::Path, process::Command};

    #[test]
    fn a_claimed_port_is_nobody_elses_before_anybody_listens_there() {
        let claimed = Port::claim().unwrap();
        let number = claimed.number();
        let other = Port::first_free([number, number].into_iter().chain(FIRST..FIRST + COUNT)).unwrap();
        assert_ne!(other.number(), number);
        drop(claimed);
        assert_eq!(Port::first_free([number].into_iter()).unwrap().number(), number);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_claimed() {
        let claimed = Port::claim().unwrap();
        let number = claimed.number();
        let _listener = TcpListener::bind(("127.0.0.1", number)).unwrap();
        drop(claimed);
        assert!(Port::first_free([number].into_iter()).is_err());
    }

    /// Another process: the script that starts real brokers draws ports of its own for `up`.
    #[test]
    fn a_claim_is_seen_by_other_processes() {
        let script = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/brokers")).unwrap();
        let (_, function) = script.split_once("is_claimed() {").unwrap();
        let (body, _) = function.split_once("\n}").unwrap();
        let is_claimed = |number: u16| {
            let text = format!("is_claimed() {{{body}\n}}\nis_claimed {number}");
            Command::new("bash").args(["-c", &text]).status().unwrap().success()
        };
        let claimed = Port::claim().unwrap();
        let number = claimed.number();
        assert!(is_claimed(number));
        drop(claimed);
        assert!(!is_claimed(number));
    }
}
