//! The methods of class channel (AMQP 0-9-1 section 1.5 of the reference), and who answers for the others that come on
//! a channel.

use super::{channel::Channel, ids::ChannelId, phase::Phase, refusal::Refusal, state::State};
use amq_protocol::protocol::{
    AMQPClass, access,
    channel::{self, AMQPMethod as Method},
};

impl State {
    /// A method on a channel, of whichever class.
    pub(super) fn channel_method(&mut self, at: ChannelId, phase: Phase, class: AMQPClass) -> Result<(), Refusal> {
        match phase {
            Phase::Closing => return Ok(()),
            Phase::Running => {}
            _ => return Err(Refusal::unexpected_frame("a channel's method before connection.open".into())),
        }
        let Some(connection) = self.connections.get_mut(&at.connection) else { return Ok(()) };
        let (open, channel_max) = (connection.channels.len(), connection.channel_max);
        match (connection.channels.get_mut(&at.channel), &class) {
            (None, AMQPClass::Channel(Method::Open(_))) if open < channel_max.into() => {
                connection.channels.insert(at.channel, Some(Channel::default()));
                self.send(at, AMQPClass::Channel(Method::OpenOk(channel::OpenOk {})));
                return Ok(());
            }
            (None, AMQPClass::Channel(Method::Open(_))) => {
                let reason = format!(
                    "number of channels opened ({open}) has reached the negotiated channel_max ({channel_max})"
                );
                return Err(Refusal { about: Some((0, 0)), ..Refusal::not_allowed(reason) });
            }
            (None, _) => return Err(Refusal::channel_error("expected 'channel.open'".into())),
            (Some(None), AMQPClass::Channel(Method::CloseOk(_))) => {
                connection.channels.remove(&at.channel);
                return Ok(());
            }
            (Some(None), AMQPClass::Channel(Method::Close(_))) => {
                self.send(at, AMQPClass::Channel(Method::CloseOk(channel::CloseOk {})));
                return Ok(());
            }
            (Some(None), _) => return Ok(()), // sent before the client saw the channel close
            (Some(Some(channel)), _) => channel.expect_method()?,
        }
        match class {
            AMQPClass::Channel(method) => self.open_channel_method(at, method),
            AMQPClass::Queue(method) => self.queue_method(at, method),
            AMQPClass::Basic(method) => self.basic_method(at, method),
            AMQPClass::Confirm(method) => self.confirm_method(at, &method),
            AMQPClass::Exchange(method) => self.exchange_method(at, &method),
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                self.send(at, AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {})));
                Ok(())
            }
            AMQPClass::Tx(_) => Err(Refusal::not_implemented("transactions; use publisher confirms".into())),
            AMQPClass::Access(_) | AMQPClass::Connection(_) => Err(Refusal::unimplemented_method()),
        }
    }

    fn open_channel_method(&mut self, at: ChannelId, method: Method) -> Result<(), Refusal> {
        match method {
            Method::Open(_) => Err(Refusal::channel_error("second 'channel.open' seen".into())),
            Method::Close(_) => {
                self.close_channel(at);
                if let Some(connection) = self.connections.get_mut(&at.connection) {
                    connection.channels.remove(&at.channel);
                }
                self.send(at, AMQPClass::Channel(Method::CloseOk(channel::CloseOk {})));
                Ok(())
            }
            Method::Flow(flow) if flow.active => {
                self.send(at, AMQPClass::Channel(Method::FlowOk(channel::FlowOk { active: true })));
                Ok(())
            }
            Method::Flow(_) => Err(Refusal::not_implemented("active=false".into())),
            _ => Err(Refusal::unimplemented_method()),
        }
    }
}
