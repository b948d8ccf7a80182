use super::*;
use crate::{
    config,
    env::{DIAL_LIMIT, memory::memory_env},
    message::Mac,
    mqtt::Mqtt,
    store::{CorrelationKey, Store},
    telemetry::{Event, Telemetry},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::sync::Mutex;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, server::WebPkiClientVerifier},
};

/// Certificates of one test, in files of a directory that goes with it.
struct Pki {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(directory.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { directory, issuer: Issuer::new(params, key) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes `name.pem` and `name.key`.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let files = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }

    fn tls(&self) -> Tls {
        Tls { ca_file: self.file("ca.pem"), identity: None }
    }

    /// A broker called `localhost`, which asks its clients for certificates if told so.
    fn acceptor(&self, asks: bool) -> TlsAcceptor {
        let (certificate_file, key_file) = self.issue("localhost");
        let key = PrivateKeyDer::from_pem_slice(&std::fs::read(key_file).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(certificates(&self.file("ca.pem")).unwrap().remove(0)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(certificates(&certificate_file).unwrap(), key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Shakes hands over a pipe; then the broker says a word.
async fn greet(acceptor: TlsAcceptor, tls: &Tls, host: &str) -> io::Result<String> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let broker = async move {
        let mut stream = acceptor.accept(far).await?;
        stream.write_all(b"welcome").await?;
        stream.shutdown().await
    };
    let client = async {
        let mut stream = wrap(Some(tls), host, Box::new(near)).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    };
    let (_, greeting) = tokio::join!(broker, client);
    greeting
}

#[tokio::test]
async fn a_broker_with_a_certificate_of_the_ca_is_trusted() {
    let pki = Pki::new();
    assert_eq!(greet(pki.acceptor(false), &pki.tls(), "localhost").await.unwrap(), "welcome");
}

#[tokio::test]
async fn a_broker_of_another_ca_or_name_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    let error = greet(other.acceptor(false), &pki.tls(), "localhost").await.unwrap_err().to_string();
    // The two have the same name, so that it is the signature that does not fit.
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    let error = greet(pki.acceptor(false), &pki.tls(), "otherhost").await.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_client_shows_its_certificate_to_a_broker_that_asks() {
    let pki = Pki::new();
    let tls = Tls { identity: Some(pki.issue("client")), ..pki.tls() };
    assert_eq!(greet(pki.acceptor(true), &tls, "localhost").await.unwrap(), "welcome");
    let error = greet(pki.acceptor(true), &pki.tls(), "localhost").await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn renewed_certificates_are_used_by_the_next_dial() {
    let (old, new) = (Pki::new(), Pki::new());
    let tls = old.tls();
    greet(new.acceptor(false), &tls, "localhost").await.unwrap_err();
    std::fs::copy(new.file("ca.pem"), &tls.ca_file).unwrap();
    greet(new.acceptor(false), &tls, "localhost").await.unwrap();
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_reason() {
    let pki = Pki::new();
    let refused = |tls: Tls| tls.connector().map(drop).unwrap_err().to_string();
    let missing = Tls { ca_file: "/nowhere/ca.pem".into(), identity: None };
    assert!(refused(missing).starts_with("/nowhere/ca.pem: No such file"));
    let (certificate, key) = pki.issue("client");
    let no_ca = Tls { ca_file: key.clone(), identity: None };
    assert!(refused(no_ca).ends_with("client.key: it holds no certificate in PEM"));
    let swapped = Tls { identity: Some((key, certificate)), ..pki.tls() };
    assert!(refused(swapped).ends_with("client.pem: it holds no private key in PEM"));
    let (_, key_of_other) = pki.issue("other");
    let mixed = Tls { identity: Some((pki.file("client.pem"), key_of_other)), ..pki.tls() };
    assert!(refused(mixed).contains("client.pem: "));
}

/// Which brokers were connected to.
#[derive(Default)]
struct Connected {
    brokers: Mutex<Vec<&'static str>>,
    changed: Notify,
}

impl Telemetry for Connected {
    fn record(&self, event: &Event<'_>) {
        if let Event::Connected { broker } = event {
            self.brokers.lock().unwrap().push(broker);
            self.changed.notify_one();
        }
    }
}

/// A broker on `port` that speaks TLS and answers whatever it is sent with `answer`.
async fn serve(env: &Env, port: u16, acceptor: TlsAcceptor, answer: &'static [u8]) {
    let mut listener = env.listen(([127, 0, 0, 1], port).into()).await.unwrap();
    let inner = env.clone();
    env.spawn("broker", async move {
        loop {
            let stream = listener.connection().await;
            let acceptor = acceptor.clone();
            inner.spawn("connection", async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buf = vec![0; 1 << 16];
                while stream.read(&mut buf).await.unwrap_or(0) > 0 {
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
}

#[tokio::test]
async fn redis_is_spoken_over_tls_if_its_url_says_so() {
    let (pki, env) = (Pki::new(), memory_env());
    serve(&env, 6380, pki.acceptor(false), b"$-1\r\n").await;
    let config = config::Redis {
        url: "rediss://localhost:6380/0".into(),
        ca_file: pki.file("ca.pem"),
        ..config::Redis::default()
    };
    let store = Store::new(&env, &config, Arc::new(Connected::default()));
    assert_eq!(store.caller(CorrelationKey::EslMac(Mac::new(1))).await.unwrap(), None);
}

#[tokio::test]
async fn mqtt_logs_in_with_a_certificate_over_tls() {
    const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
    let (pki, env) = (Pki::new(), memory_env());
    serve(&env, 8883, pki.acceptor(true), CONNACK).await;
    let (cert_file, key_file) = pki.issue("client");
    let config = config::Mqtt { port: 8883, ca_file: pki.file("ca.pem"), cert_file, key_file, ..Default::default() };
    let connected = Arc::new(Connected::default());
    let (_mqtt, _) = Mqtt::start(&env, &config, "test", Vec::new(), connected.clone());
    timeout(DIAL_LIMIT, connected.changed.notified()).await.unwrap();
    assert_eq!(*connected.brokers.lock().unwrap(), ["mqtt"]);
}
