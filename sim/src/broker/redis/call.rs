//! One command as a client calls it, and what comes of it.

use super::{
    error::CommandError,
    resp::{Reply, read_integer},
};
use bytes::Bytes;

/// What a client is answered, or why it was refused.
pub(super) type Outcome = Result<Reply, CommandError>;

/// A command at work: its name as in the table, its arguments without the name, and the time.
pub(super) struct Call<'a> {
    pub(super) name: &'static str,
    pub(super) args: &'a [Bytes],
    pub(super) now_ms: u64,
}

impl<'a> Call<'a> {
    /// The arguments of a command that takes `N` of them.
    ///
    /// # Panics
    /// If the command's row in the table says otherwise.
    pub(super) fn exactly<const N: usize>(&self) -> &'a [Bytes; N] {
        self.args.try_into().expect("the table knows how many arguments a command takes")
    }

    /// The arguments of a command that takes at least `N` of them: those, and the others.
    ///
    /// # Panics
    /// If the command's row in the table says otherwise.
    pub(super) fn at_least<const N: usize>(&self) -> (&'a [Bytes; N], &'a [Bytes]) {
        self.args.split_first_chunk().expect("the table knows how many arguments a command takes at least")
    }

    /// For what the table can't tell, such as a field without a value.
    pub(super) fn wrong_arity(&self) -> CommandError {
        CommandError::Arity(self.name.into())
    }
}

/// An argument that has to be an integer.
///
/// # Errors
/// It is none.
pub(super) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    read_integer(text).ok_or(CommandError::NotAnInteger)
}
