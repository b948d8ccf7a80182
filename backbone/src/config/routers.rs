//! Which routers a deployment has: that follows from the way in which its workers call labels.

use super::RpcKind;

/// A kind of router. The order is that in which a deployment starts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouterKind {
    /// Carries requests from RabbitMQ to MQTT.
    Forward,
    /// Carries replies from MQTT to RabbitMQ.
    Backward,
    /// Answers requests over HTTP, in the stead of both.
    Http,
}

impl RpcKind {
    /// The routers that this way of calling needs: a replica of each is a whole one.
    #[must_use]
    pub const fn routers(self) -> &'static [RouterKind] {
        match self {
            Self::Queue => &[RouterKind::Forward, RouterKind::Backward],
            Self::Http => &[RouterKind::Http],
        }
    }
}

impl RouterKind {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Forward, Self::Backward, Self::Http];

    /// Its name in configurations, as in `[fwd_router]`. `backbone` takes it with `-` for `_`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "fwd_router",
            Self::Backward => "bck_router",
            Self::Http => "http_router",
        }
    }

    /// Several of them, in words.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Forward => "forward routers",
            Self::Backward => "backward routers",
            Self::Http => "HTTP routers",
        }
    }

    /// Whether it answers a worker's call itself. Then it listens where `http_router.listen` says, `rpc.routers` names
    /// it, and each reply has to come to the very replica that waits for it.
    #[must_use]
    pub const fn answers_calls(self) -> bool {
        match self {
            Self::Forward | Self::Backward => false,
            Self::Http => true,
        }
    }
}
