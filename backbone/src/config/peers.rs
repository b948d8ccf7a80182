//! Whom the configuration names: the addresses and logins in it, parsed, and what TLS to them needs.

use super::{Admin, Amqp, Mqtt, Redis, Rpc, Tracing};
use crate::tls::Tls;
use hyper::Uri;
use lapin::uri::AMQPUri;
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use std::{net::SocketAddr, path::PathBuf};

impl Admin {
    /// The parsed [`listen`](Self::listen), if it is set.
    ///
    /// # Errors
    /// What would do.
    pub fn address(&self) -> Result<Option<SocketAddr>, &'static str> {
        match self.listen.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| "expected an address and a port like 127.0.0.1:9100"),
        }
    }
}

/// Where spans are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceEndpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl Tracing {
    /// The parsed [`collector`](Self::collector), if it is set.
    pub(crate) fn endpoint(&self) -> Result<Option<TraceEndpoint>, &'static str> {
        if self.collector.is_empty() {
            return Ok(None);
        }
        let parse = |uri: Uri| {
            let authority = uri.authority()?.as_str();
            let has_port = uri.port().is_some();
            let (host, port) = host_and_port(&if has_port { authority.into() } else { format!("{authority}:80") })?;
            let path = uri.path_and_query()?.as_str().to_owned();
            let sound = uri.scheme_str() == Some("http") && uri.path() != "/";
            sound.then_some(TraceEndpoint { host, port, path })
        };
        let endpoint = self.collector.parse().ok().and_then(parse);
        endpoint.map(Some).ok_or("expected http://HOST:PORT/v1/traces")
    }
}

impl Rpc {
    /// The parsed [`routers`](Self::routers).
    pub(crate) fn addresses(&self) -> Result<Vec<(String, u16)>, String> {
        let parse = |router: &String| host_and_port(router).ok_or_else(|| format!("\"{router}\" is no HOST:PORT"));
        self.routers.iter().map(parse).collect()
    }
}

/// The host, without brackets if it is an address of version 6, and the port of `HOST:PORT`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let visible = host.bytes().all(|byte| byte.is_ascii_graphic());
    let sound = !host.is_empty() && visible && !host.contains(['/', '@', '[', ']']);
    // A colon is part of an address of version 6 and of nothing else.
    let sound = sound && (!host.contains(':') || host.parse::<std::net::Ipv6Addr>().is_ok());
    let port = port.parse().ok().filter(|port| *port > 0);
    sound.then_some(()).and(port).map(|port| (host.to_owned(), port))
}

impl Amqp {
    /// The parsed [`url`](Self::url) with the password.
    ///
    /// # Errors
    /// That it is none, without repeating it.
    pub fn uri(&self) -> Result<AMQPUri, &'static str> {
        // The parser's own error may repeat the URL, password and all.
        let mut uri: AMQPUri = self.url.parse().map_err(|_| "no AMQP URL")?;
        if !self.password.is_empty() {
            uri.authority.userinfo.password.clone_from(&self.password);
        }
        Ok(uri)
    }

    /// What TLS needs, if the URL asks for it.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        let wanted = self.url.to_ascii_lowercase().starts_with("amqps:");
        wanted.then(|| Tls { ca_file: self.ca_file.clone(), identity: None })
    }
}

impl Mqtt {
    /// What TLS needs, if it is wanted.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        let is_set = |file: &PathBuf| !file.as_os_str().is_empty();
        let identity = is_set(&self.cert_file).then(|| (self.cert_file.clone(), self.key_file.clone()));
        is_set(&self.ca_file).then(|| Tls { ca_file: self.ca_file.clone(), identity })
    }
}

impl Redis {
    /// Each server by itself: that of [`url`](Self::url), then the [`shards`](Self::shards).
    #[must_use]
    pub fn servers(&self) -> Vec<Self> {
        let server = |url: &String| Self { url: url.clone(), shards: Vec::new(), ..self.clone() };
        std::iter::once(&self.url).chain(&self.shards).map(server).collect()
    }

    /// Host, port and login of the parsed [`url`](Self::url), with the password.
    ///
    /// # Errors
    /// That it is none, without repeating it.
    pub fn address(&self) -> Result<(String, u16, RedisConnectionInfo), &'static str> {
        // TLS is put on by this crate, so redis-rs need not know of it.
        let plain = self.url.strip_prefix("rediss:").map(|rest| format!("redis:{rest}"));
        let url = plain.as_ref().unwrap_or(&self.url).as_str();
        let info = url.into_connection_info().map_err(|_| "no Redis URL")?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err("no Redis URL over TCP") };
        let login = info.redis_settings().clone();
        let login = if self.password.is_empty() { login } else { login.set_password(&self.password) };
        Ok((host.clone(), *port, login))
    }

    /// What TLS needs, if the URL asks for it.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.url.starts_with("rediss:").then(|| Tls { ca_file: self.ca_file.clone(), identity: None })
    }
}
