//! Keeping secrets out of logs, errors and files, and reading them from files of their own.

use super::{Amqp, Mqtt, Redis};
use serde::Serializer;
use std::{
    fmt,
    io::{self, Read},
    path::Path,
};

/// What is shown in a secret's place.
const MASK: &str = "***";
/// The password that RabbitMQ is delivered with, and accepts from its own host only. Not a secret.
const PUBLIC_PASSWORD: &str = "guest";
/// Longest password in a file, in bytes.
const PASSWORD_BYTES_MAX: u64 = 1_024;

/// A URL fit for a log. What could be a password is gone, however malformed the URL is; what has no `://` may be
/// anything.
#[must_use]
pub fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return MASK.into() };
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (format!("{}@", mask_login(login)), place),
        None => (String::new(), rest),
    };
    // A query can hold a password, too.
    let place = place.split_once('?').map_or(place.to_owned(), |(place, _)| format!("{place}?{MASK}"));
    format!("{scheme}://{login}{place}")
}

fn mask_login(login: &str) -> String {
    match login.split_once(':') {
        Some((_, PUBLIC_PASSWORD)) => login.into(),
        Some((user, _)) => format!("{user}:{MASK}"),
        None => MASK.into(),
    }
}

/// Serializes a URL as [`mask_url`] shows it.
pub(super) fn serialize_url<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&mask_url(url))
}

/// Serializes URLs as [`mask_url`] shows them.
pub(super) fn serialize_urls<S: Serializer>(urls: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(urls.iter().map(|url| mask_url(url)))
}

/// Serializes a password as whether there is one.
pub(super) fn serialize_password<S: Serializer>(password: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if password.is_empty() { "" } else { MASK })
}

/// The password in `file`: all of it, but for a line's end at its end.
pub(super) fn read_password(file: &Path) -> io::Result<String> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(PASSWORD_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(invalid(format!("it has more than {PASSWORD_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8".into()))?;
    let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if password.is_empty() { Err(invalid("it is empty".into())) } else { Ok(password.into()) }
}

macro_rules! debug_without_secrets {
    ($($section:ty),*) => {$(
        impl fmt::Debug for $section {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
            }
        }
    )*};
}
debug_without_secrets!(Amqp, Mqtt, Redis);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_masked_url_still_says_who_and_where() {
        assert_eq!(mask_url("amqp://user:se@c:r/et@host:5672/%2f"), "amqp://user:***@host:5672/%2f");
        assert_eq!(mask_url("amqp://guest:guest@localhost:5672/%2f"), "amqp://guest:guest@localhost:5672/%2f");
        assert_eq!(mask_url("redis://token@host?password=x"), "redis://***@host?***");
        assert_eq!(mask_url("redis://localhost:6379/0"), "redis://localhost:6379/0");
    }

    #[test]
    fn what_is_no_url_is_not_shown_at_all() {
        for text in ["user:secret@host", "secret", "amqp:/user:secret@host", ""] {
            assert_eq!(mask_url(text), "***", "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_password_survives_masking(
            scheme in "[a-z]{1,5}",
            user in "[a-z]{0,5}",
            password in "[A-Z@:/?#%]{0,6}SECRET[A-Z@:/?#%]{0,6}",
        ) {
            let masked = mask_url(&format!("{scheme}://{user}:{password}@host"));
            prop_assert!(!masked.contains("SECRET"), "{}", masked);
        }
    }

    #[test]
    fn a_password_file_is_taken_as_it_is_but_for_the_end_of_its_line() {
        let read = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            read_password(file.path()).map_err(|error| error.to_string())
        };
        assert_eq!(read("0123 \n").as_deref(), Ok("0123 "));
        assert_eq!(read("a\r\n").as_deref(), Ok("a"));
        assert_eq!(read("a\n\n").as_deref(), Ok("a\n"));
        assert_eq!(read("\n").unwrap_err(), "it is empty");
        assert_eq!(read(&"x".repeat(1_025)).unwrap_err(), "it has more than 1024 bytes");
    }
}
