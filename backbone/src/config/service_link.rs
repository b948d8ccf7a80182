//! Variables that Kubernetes puts into each container, some for each service that it knows
//! (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>). Those of a service
//! called `backbone` or `backbone-mqtt` begin as our own do.

/// What stands between section and field in our own variables, and in none of those.
pub(super) const ENV_SEPARATOR: &str = "__";
/// What one port of a service may speak.
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
/// What is told of one port of a service, beside its URL.
const OF_A_PORT: [&str; 3] = ["_PROTO", "_PORT", "_ADDR"];

/// Whether this variable tells of a service. `BACKBONE_MQTT_PORT` does so only if its value is a URL: else it is a
/// slip.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    if name.contains(ENV_SEPARATOR) {
        return false;
    }
    let is_url = || PROTOCOLS.iter().any(|p| value.split_once("://").is_some_and(|(s, _)| s.eq_ignore_ascii_case(p)));
    let of_service = ["_SERVICE_HOST", "_SERVICE_PORT"].iter().any(|end| name.ends_with(end));
    of_service || name.contains("_SERVICE_PORT_") || name.ends_with("_PORT") && is_url() || is_of_a_port(name)
}

/// `SERVICE_PORT_1883_TCP`, or that with one of [`OF_A_PORT`] behind it.
fn is_of_a_port(name: &str) -> bool {
    let name = OF_A_PORT.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let mut parts = name.rsplitn(3, '_');
    let (protocol, port, service) = (parts.next(), parts.next(), parts.next());
    protocol.is_some_and(|protocol| PROTOCOLS.contains(&protocol))
        && port.is_some_and(|port| port.parse::<u16>().is_ok())
        && service.is_some_and(|service| service.ends_with("_PORT"))
}
