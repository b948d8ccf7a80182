//! Loading: what is wrong, where, what was found, what would do. No error shows a secret.

use super::{
    Config,
    secret::read_password,
    service_link::{ENV_SEPARATOR, is_service_link},
};
use figment::{
    Figment,
    error::{Actual, Kind},
    providers::Serialized,
};
use std::{collections::BTreeMap, ffi::OsString, io::Read, path::Path};

/// What the variables of the environment begin with.
const ENV_PREFIX: &str = "BACKBONE_";
/// Largest configuration file: many times one with all fields and comments.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Fields whose values no error may show.
const SECRET_KEYS: [&str; 6] =
    ["amqp.url", "amqp.password", "mqtt.password", "redis.url", "redis.shards", "redis.password"];

/// Why a configuration can't be used. Its text has a line for each problem.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file, or it can't be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("{path}: has more than the {FILE_BYTES_MAX} bytes allowed")]
    TooLarge {
        /// The file.
        path: String,
    },
    /// Values that are wrong in themselves: of another type, under an unknown key, no TOML.
    #[error("{0}")]
    Malformed(String),
    /// Values that are well-formed but make no sense.
    #[error("{0}")]
    Invalid(String),
}

/// Where a configuration comes from.
struct Sources {
    file: String,
    /// The variables of the environment that begin with [`ENV_PREFIX`], by the key that they set.
    variables: BTreeMap<String, (String, OsString)>,
}

impl Config {
    /// Reads `file`, then the environment, then the files of passwords, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or variable, the key, what was found and what is accepted.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::load_with(file, std::env::vars_os())
    }

    pub(super) fn load_with(
        file: &Path,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let sources = Sources::new(file, variables);
        let text = read(file)?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| sources.no_toml(&text, &error))?;
        let mut figment = Figment::from(Serialized::defaults(table));
        let defaults = toml::Value::try_from(Self::default()).expect("the defaults can be written as TOML");
        for (key, (name, value)) in &sources.variables {
            let Some(value) = value.to_str() else {
                return Err(ConfigError::Malformed(format!("environment variable {name}: is not UTF-8")));
            };
            let text = || toml::Value::String(value.into());
            let value = match is_text(&defaults, key) {
                true => text(),
                false => value.parse().unwrap_or_else(|_| text()),
            };
            figment = figment.merge(Serialized::default(key, value));
        }
        let mut config: Self = figment.extract().map_err(|errors| {
            let lines: Vec<_> = errors.into_iter().map(|error| sources.explain(&error)).collect();
            ConfigError::Malformed(lines.join("\n"))
        })?;
        config.read_password_files(&sources)?;
        config.check(|key| sources.place(key))?;
        Ok(config)
    }

    fn read_password_files(&mut self, sources: &Sources) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let passwords = [
            ("amqp.password", &mut self.amqp.password, &self.amqp.password_file),
            ("mqtt.password", &mut self.mqtt.password, &self.mqtt.password_file),
            ("redis.password", &mut self.redis.password, &self.redis.password_file),
        ];
        for (key, password, file) in passwords.into_iter().filter(|(_, _, file)| !file.as_os_str().is_empty()) {
            let key_of_file = format!("{key}_file");
            let problem = match read_password(file) {
                _ if !password.is_empty() => format!("is set, and so is `{key}`; expected only one of them"),
                Ok(read) => {
                    *password = read;
                    continue;
                }
                Err(error) => format!("is \"{}\": {error}; expected a file that holds a password", file.display()),
            };
            problems.push(format!("{}: `{key_of_file}` {problem}", sources.place(&key_of_file)));
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(problems.join("\n"))) }
    }
}

/// Whether a field is text, as its default is. What the environment says of such a one is not parsed: `12345` is a
/// password, too.
fn is_text(defaults: &toml::Value, key: &str) -> bool {
    key.split('.').try_fold(defaults, |value, part| value.get(part)).is_some_and(toml::Value::is_str)
}

fn read(file: &Path) -> Result<String, ConfigError> {
    let path = file.display().to_string();
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(ConfigError::TooLarge { path }),
        Ok(_) => Ok(text),
        Err(source) => Err(ConfigError::Unreadable { path, source }),
    }
}

impl Sources {
    fn new(file: &Path, variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let variables = variables.filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let (prefix, key) = name.split_at_checked(ENV_PREFIX.len())?;
            let key = key.to_ascii_lowercase().replace(ENV_SEPARATOR, ".");
            let is_ours = prefix.eq_ignore_ascii_case(ENV_PREFIX) && !is_service_link(&name, &value.to_string_lossy());
            is_ours.then_some((key, (name, value)))
        });
        Self { file: file.display().to_string(), variables: variables.collect() }
    }

    /// Where the value of `key` was set.
    fn place(&self, key: &str) -> String {
        self.variable(key).unwrap_or_else(|| self.file.clone())
    }

    /// Where the key, or something in the section, was set that nobody knows.
    fn place_of_unknown(&self, key: &str) -> String {
        let within = format!("{key}.");
        let in_section =
            || self.variables.keys().find(|set| set.starts_with(&within)).and_then(|set| self.variable(set));
        self.variable(key).or_else(in_section).unwrap_or_else(|| self.file.clone())
    }

    fn variable(&self, key: &str) -> Option<String> {
        self.variables.get(key).map(|(name, _)| format!("environment variable {name}"))
    }

    /// TOML's own message would show the line, and with it perhaps a password.
    fn no_toml(&self, text: &str, error: &toml::de::Error) -> ConfigError {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        ConfigError::Malformed(format!("{}: line {line}: {}", self.file, error.message()))
    }

    /// One line: the source, the key, what was found, what would do.
    fn explain(&self, error: &figment::Error) -> String {
        let key = error.path.join(".");
        let place = self.place(&key);
        match &error.kind {
            Kind::UnknownField(found, known) => {
                let meant = nearest(found, known).map(|name| format!("`{name}`"));
                // The path of an unknown key ends with it, or with its section, by figment's mood.
                let section = key.strip_suffix(found.as_str()).unwrap_or(&key).trim_end_matches('.');
                let full = if section.is_empty() { found.clone() } else { format!("{section}.{found}") };
                let meant = meant.or_else(|| self.variable(&full).and_then(|_| with_separator(found, known)));
                let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
                let section = if section.is_empty() { "at the top level".into() } else { format!("in [{section}]") };
                format!(
                    "{}: unknown key `{found}` {section}{meant} (known: {})",
                    self.place_of_unknown(&full),
                    known.join(", ")
                )
            }
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) if holds_secret(&key) => {
                format!("{place}: `{key}` is {}; expected {expected}", kind_of(found))
            }
            _ if holds_secret(&key) => format!("{place}: `{key}` is not what it should be"),
            Kind::UnknownVariant(found, known) => {
                format!("{place}: `{key}` is \"{found}\"; expected one of {}", known.join(", "))
            }
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
                format!("{place}: `{key}` is {found}; expected {expected}")
            }
            other if key.is_empty() => format!("{place}: {other}"),
            other => format!("{place}: `{key}`: {other}"),
        }
    }
}

/// Whether the value of `key` is a secret, or a section with one, or something put in a section's place.
fn holds_secret(key: &str) -> bool {
    SECRET_KEYS
        .iter()
        .any(|secret| secret.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// What kind of value was found, without the value.
fn kind_of(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "something else",
    }
}

/// The known key that `found` is most probably a slip of.
fn nearest<'a>(found: &str, known: &'a [&'static str]) -> Option<&'a str> {
    let slips = |name: &str| strsim::levenshtein(found, name);
    known.iter().copied().min_by_key(|name| slips(name)).filter(|name| slips(name) <= found.len().max(3) / 3 + 1)
}

/// The variable that `found`, a section and a field with one `_` between them, is probably a slip of.
fn with_separator(found: &str, sections: &[&'static str]) -> Option<String> {
    let field_in =
        |section: &&str| Some((section.to_ascii_uppercase(), found.strip_prefix(*section)?.strip_prefix('_')?));
    let (section, field) = sections.iter().find_map(field_in)?;
    Some(format!("{ENV_PREFIX}{section}{ENV_SEPARATOR}{}", field.to_ascii_uppercase()))
}
