//! Addresses of brokers, as the user writes them. No error repeats one: it may hold a password.

use super::options::Options;
use backbone::config::{Amqp, Mqtt, Redis};
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use url::{Host, Url};

/// MQTT's ports without and with TLS (IANA).
const MQTT_PORTS: [u16; 2] = [1883, 8883];

/// Options that name brokers in a way that can't be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No address of that kind of broker.
    #[error("{option}: expected {expected}")]
    NotOne {
        /// The option.
        option: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// TLS, and nobody to trust.
    #[error("{option}: TLS needs --ca-file, the certificates to trust")]
    NoCertificates {
        /// The option with the address.
        option: &'static str,
    },
    /// Certificates, and no TLS.
    #[error("--ca-file: no address asks for TLS")]
    NoTls,
}

impl Options {
    /// Checks what can be checked before anything is started.
    ///
    /// # Errors
    /// [`AddressError`]
    pub fn check(&self) -> Result<(), AddressError> {
        take(self, &mut Amqp::default(), &mut Mqtt::default(), &mut Redis::default())
    }
}

/// Points the services' configuration at the brokers that `options` name.
pub(super) fn take(options: &Options, amqp: &mut Amqp, mqtt: &mut Mqtt, redis: &mut Redis) -> Result<(), AddressError> {
    let mut tls_anywhere = false;
    let mut ca_file = |option, tls: bool| {
        tls_anywhere |= tls;
        match (tls, &options.ca_file) {
            (true, None) => Err(AddressError::NoCertificates { option }),
            (true, Some(file)) => Ok(file.clone()),
            (false, _) => Ok(PathBuf::new()),
        }
    };
    if let Some(url) = &options.amqp {
        let (option, expected) = ("--amqp", "amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps://");
        let tls = has_tls(url, "amqp").ok_or(AddressError::NotOne { option, expected })?;
        amqp.url.clone_from(url);
        amqp.ca_file = ca_file(option, tls)?;
    }
    if let Some(url) = &options.mqtt {
        let (option, expected) = ("--mqtt", "mqtt://USER:PASSWORD@HOST:PORT, or mqtts://");
        let tls = read_mqtt(url, mqtt).ok_or(AddressError::NotOne { option, expected })?;
        mqtt.ca_file = ca_file(option, tls)?;
    }
    if let Some(url) = &options.redis {
        let (option, expected) = ("--redis", "redis://USER:PASSWORD@HOST:PORT/DB, or rediss://");
        let tls = has_tls(url, "redis").ok_or(AddressError::NotOne { option, expected })?;
        redis.url.clone_from(url);
        redis.ca_file = ca_file(option, tls)?;
    }
    if options.ca_file.is_some() && !tls_anywhere {
        return Err(AddressError::NoTls);
    }
    Ok(())
}

/// Whether `url` has the scheme for TLS; `None` if it has neither of the two.
fn has_tls(url: &str, scheme: &str) -> Option<bool> {
    let (found, _) = url.split_once("://")?;
    let tls = found.strip_prefix(scheme)?;
    matches!(tls, "" | "s").then_some(!tls.is_empty())
}

/// Takes host, port and login from `url`; gives whether it asks for TLS.
fn read_mqtt(url: &str, mqtt: &mut Mqtt) -> Option<bool> {
    let tls = has_tls(url, "mqtt")?;
    let url = Url::parse(url).ok()?;
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    is_bare.then_some(())?;
    let decoded = |text| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    mqtt.host = match url.host()? {
        Host::Domain("") => return None,
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    mqtt.port = url.port().unwrap_or(MQTT_PORTS[usize::from(tls)]);
    (mqtt.username, mqtt.password) = (decoded(url.username())?, decoded(url.password().unwrap_or_default())?);
    Some(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: Options) -> Result<(Amqp, Mqtt, Redis), AddressError> {
        let (mut amqp, mut mqtt, mut redis) = (Amqp::default(), Mqtt::default(), Redis::default());
        take(&options, &mut amqp, &mut mqtt, &mut redis)?;
        Ok((amqp, mqtt, redis))
    }

    fn read_mqtt(url: &str) -> Result<Mqtt, AddressError> {
        let ca_file = url.starts_with("mqtts").then(|| "ca.pem".into());
        Ok(read(Options { mqtt: Some(url.into()), ca_file, ..Options::default() })?.1)
    }

    #[test]
    fn an_address_of_an_mqtt_broker_has_host_port_and_login() {
        let place = |url| read_mqtt(url).map(|mqtt| (mqtt.host, mqtt.port)).unwrap();
        assert_eq!(place("mqtt://broker:1884"), ("broker".into(), 1884));
        assert_eq!(place("mqtt://127.0.0.1/"), ("127.0.0.1".into(), 1883));
        assert_eq!(place("mqtts://[::1]"), ("::1".into(), 8883));
        let mqtt = read_mqtt("mqtt://me:p%40ss%2Fw@rd@broker").unwrap();
        assert_eq!((mqtt.host.as_str(), mqtt.username.as_str(), mqtt.password.as_str()), ("broker", "me", "p@ss/w@rd"));
    }

    #[test]
    fn what_is_no_address_is_not_repeated() {
        let wrong = [
            "me:secret@broker",
            "http://me:secret@b",
            "mqtt://me:secret@:1",
            "mqtt://me:secret@b:x",
            "mqtt://b/secret",
        ];
        for url in wrong {
            let error = read_mqtt(url).unwrap_err().to_string();
            assert!(error.contains("mqtt://USER:PASSWORD@HOST:PORT") && !error.contains("secret"), "{url}: {error}");
        }
        for url in ["http://me:secret@b", "amqpx://me:secret@b", "secret"] {
            let (amqp, redis) = (Some(url.to_owned()), Some(url.to_owned()));
            let error = read(Options { amqp, ..Options::default() }).unwrap_err().to_string();
            assert!(error.contains("--amqp: expected") && !error.contains("secret"), "{error}");
            let error = read(Options { redis, ..Options::default() }).unwrap_err().to_string();
            assert!(error.contains("--redis: expected") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_those_with_tls_get_certificates_to_trust() {
        let (amqp, redis) = (Some("amqps://broker".to_owned()), Some("redis://broker".to_owned()));
        let with = |ca_file| Options { amqp: amqp.clone(), redis: redis.clone(), ca_file, ..Options::default() };
        let (amqp, mqtt, redis) = read(with(Some("ca.pem".into()))).unwrap();
        assert_eq!(amqp.ca_file, PathBuf::from("ca.pem"));
        assert!(mqtt.tls().is_none() && redis.tls().is_none());
        assert_eq!(read(with(None)).unwrap_err(), AddressError::NoCertificates { option: "--amqp" });
        let useless = Options { ca_file: Some("ca.pem".into()), ..Options::default() };
        assert_eq!(read(useless).unwrap_err(), AddressError::NoTls);
    }
}
