//! The methods of class exchange and those of class queue that bind (AMQP 0-9-1 sections 1.6 and 1.7 of the reference).

use super::{
    arguments,
    exchange::{Binding, Destination, Exchange, Kind},
    headers::Pattern,
    ids::ChannelId,
    refusal::Refusal,
    state::State,
};
use amq_protocol::{
    frame::WriteContext,
    protocol::{
        AMQPClass,
        exchange::{self, AMQPMethod as Method},
        queue,
    },
    types::{AMQPValue, FieldTable, generation::gen_field_table},
};

/// The argument of an exchange that says where messages go that no binding takes.
const ALTERNATE: &str = "alternate-exchange";
/// Most exchanges at a time: a client that leaks them is found out before memory is.
const EXCHANGES_MAX: usize = 100_000;
/// Most bindings of one exchange.
const BINDINGS_MAX: usize = 1_000_000;

impl State {
    pub(super) fn exchange_method(&mut self, at: ChannelId, method: &Method) -> Result<(), Refusal> {
        match method {
            Method::Declare(declare) => {
                self.declare_exchange(declare)?;
                if !declare.nowait {
                    self.send(at, AMQPClass::Exchange(Method::DeclareOk(exchange::DeclareOk {})));
                }
                Ok(())
            }
            Method::Delete(delete) => {
                self.delete_exchange(delete)?;
                if !delete.nowait {
                    self.send(at, AMQPClass::Exchange(Method::DeleteOk(exchange::DeleteOk {})));
                }
                Ok(())
            }
            Method::Bind(bind) => {
                let ends = self.ends_of_exchanges(bind.source.as_str(), bind.destination.as_str())?;
                self.bind(ends, bind.routing_key.as_str(), &bind.arguments)?;
                if !bind.nowait {
                    self.send(at, AMQPClass::Exchange(Method::BindOk(exchange::BindOk {})));
                }
                Ok(())
            }
            Method::Unbind(unbind) => {
                let ends = self.ends_of_exchanges(unbind.source.as_str(), unbind.destination.as_str());
                self.unbind(ends, unbind.routing_key.as_str(), &unbind.arguments)?;
                if !unbind.nowait {
                    self.send(at, AMQPClass::Exchange(Method::UnbindOk(exchange::UnbindOk {})));
                }
                Ok(())
            }
            _ => Err(Refusal::unimplemented_method()),
        }
    }

    fn declare_exchange(&mut self, declare: &exchange::Declare) -> Result<(), Refusal> {
        let name = declare.exchange.as_str();
        if declare.passive {
            return self.find_exchange(name).map(drop);
        }
        let unknown = || Refusal::command_invalid(format!("unknown exchange type '{}'", declare.kind));
        let kind = Kind::named(declare.kind.as_str()).ok_or_else(unknown)?;
        let alternate = match declare.arguments.inner().get(ALTERNATE) {
            None => None,
            Some(AMQPValue::LongString(text)) => Some(text.to_string()),
            Some(other) => {
                let kind = arguments::kind(other);
                let reason = format!("invalid type '{kind}' for arg '{ALTERNATE}' in exchange '{name}' in vhost '/'");
                return Err(Refusal::precondition_failed(reason));
            }
        };
        let known = self.exchanges.len();
        match self.find_exchange(name) {
            Ok(current) => same(name, declare, kind, alternate.as_deref(), current),
            Err(refusal) if refusal.code != 404 => Err(refusal),
            Err(_) if name.starts_with("amq.") => {
                let reason = format!("exchange name '{name}' contains reserved prefix 'amq.*'");
                Err(Refusal::access_refused(reason))
            }
            Err(_) if known >= EXCHANGES_MAX => {
                Err(Refusal::resource_error(format!("{EXCHANGES_MAX} exchanges are the limit")))
            }
            Err(_) => {
                let mut exchange = Exchange::new(kind, declare.durable);
                exchange.auto_delete = declare.auto_delete;
                exchange.internal = declare.internal;
                exchange.alternate = alternate.map(Into::into);
                self.exchanges.insert(name.into(), exchange);
                Ok(())
            }
        }
    }

    /// Deleting what isn't there succeeds since RabbitMQ 3.2.
    fn delete_exchange(&mut self, delete: &exchange::Delete) -> Result<(), Refusal> {
        let name = delete.exchange.as_str();
        match self.find_exchange(name) {
            Ok(_) if name.starts_with("amq.") => {
                Err(Refusal::access_refused(format!("deletion of system exchange '{name}' in vhost '/' not allowed")))
            }
            Ok(exchange) if delete.if_unused && exchange.binding_count() > 0 => {
                Err(Refusal::precondition_failed(format!("exchange '{name}' in vhost '/' in use")))
            }
            Ok(_) => {
                self.remove_exchange(name);
                Ok(())
            }
            Err(refusal) if refusal.code == 404 => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) fn bind_queue(&mut self, at: ChannelId, bind: &queue::Bind) -> Result<(), Refusal> {
        let (queue, exchange, key) = (bind.queue.as_str(), bind.exchange.as_str(), bind.routing_key.as_str());
        let (ends, key) = self.ends_at_queue(at, queue, exchange, key)?;
        self.bind(ends, &key, &bind.arguments)?;
        if !bind.nowait {
            self.send(at, AMQPClass::Queue(queue::AMQPMethod::BindOk(queue::BindOk {})));
        }
        Ok(())
    }

    pub(super) fn unbind_queue(&mut self, at: ChannelId, unbind: &queue::Unbind) -> Result<(), Refusal> {
        let (queue, exchange, key) = (unbind.queue.as_str(), unbind.exchange.as_str(), unbind.routing_key.as_str());
        let (ends, key) = match self.ends_at_queue(at, queue, exchange, key) {
            Ok((ends, key)) => (Ok(ends), key),
            Err(refusal) => (Err(refusal), String::new()),
        };
        self.unbind(ends, &key, &unbind.arguments)?;
        self.send(at, AMQPClass::Queue(queue::AMQPMethod::UnbindOk(queue::UnbindOk {})));
        Ok(())
    }

    /// Adds a binding between `ends`, the exchange that it leads from and where it leads.
    fn bind(&mut self, ends: Ends, key: &str, arguments: &FieldTable) -> Result<(), Refusal> {
        let Ends { from, to } = ends;
        let exchange = self.find_exchange(&from)?;
        if exchange.binding_count() >= BINDINGS_MAX {
            return Err(Refusal::resource_error(format!("{BINDINGS_MAX} bindings are an exchange's limit")));
        }
        let pattern = (exchange.kind == Kind::Headers).then(|| Pattern::parse(arguments)).transpose()?;
        exchange.bind(Binding { key: key.into(), to, arguments: encoded(arguments) }, pattern);
        Ok(())
    }

    /// Removes a binding. What is missing isn't bound.
    fn unbind(&mut self, ends: Result<Ends, Refusal>, key: &str, arguments: &FieldTable) -> Result<(), Refusal> {
        let Ends { from, to } = match ends {
            Ok(ends) => ends,
            Err(refusal) if refusal.code == 404 => return Ok(()),
            Err(refusal) => return Err(refusal),
        };
        let exchange = self.find_exchange(&from)?;
        let removed = exchange.unbind(&Binding { key: key.into(), to, arguments: encoded(arguments) });
        if removed && exchange.auto_delete && exchange.binding_count() == 0 {
            self.remove_exchange(&from);
        }
        Ok(())
    }

    fn ends_of_exchanges(&mut self, from: &str, to: &str) -> Result<Ends, Refusal> {
        if to.is_empty() {
            self.find_exchange(to)?; // says that it may not be that one
        }
        self.find_exchange(from)?;
        self.find_exchange(to)?;
        Ok(Ends { from: from.into(), to: Destination::Exchange(to.into()) })
    }

    /// The ends and the key of a queue's binding. Where the queue is left to be the one declared last, an empty key is
    /// its name (section 1.7.2.3 of the reference).
    fn ends_at_queue(
        &mut self,
        at: ChannelId,
        queue: &str,
        exchange: &str,
        key: &str,
    ) -> Result<(Ends, String), Refusal> {
        self.find_exchange(exchange)?;
        let id = self.find_queue(at, queue)?;
        let key = if queue.is_empty() && key.is_empty() { &*self.queues[&id].name } else { key };
        Ok((Ends { from: exchange.into(), to: Destination::Queue(id) }, key.to_owned()))
    }
}

/// What a binding connects.
struct Ends {
    /// An exchange.
    from: Box<str>,
    to: Destination,
}

fn encoded(arguments: &FieldTable) -> Box<[u8]> {
    if arguments.inner().is_empty() {
        return Box::default();
    }
    let context = gen_field_table(arguments)(WriteContext::from(Vec::new())).expect("a Vec takes all tables");
    context.into_inner().0.into()
}

/// Declaring what is there already does nothing, if it is the same.
fn same(
    name: &str,
    declare: &exchange::Declare,
    kind: Kind,
    alternate: Option<&str>,
    current: &Exchange,
) -> Result<(), Refusal> {
    let inequivalent = |argument: &str, difference: &str| {
        let reason = format!("inequivalent arg '{argument}' for exchange '{name}' in vhost '/': {difference}");
        Err(Refusal::precondition_failed(reason))
    };
    let flag = |flag: bool| if flag { "true" } else { "false" };
    [
        ("type", kind.as_str(), current.kind.as_str()),
        ("durable", flag(declare.durable), flag(current.durable)),
        ("auto_delete", flag(declare.auto_delete), flag(current.auto_delete)),
        ("internal", flag(declare.internal), flag(current.internal)),
    ]
    .into_iter()
    .find(|(_, received, current)| received != current)
    .map_or(Ok(()), |(argument, received, current)| {
        inequivalent(argument, &format!("received '{received}' but current is '{current}'"))
    })?;
    let value = |text: &str| format!("the value '{text}' of type 'longstr'");
    match (alternate, current.alternate.as_deref()) {
        (None, None) => Ok(()),
        (Some(received), Some(current)) if received == current => Ok(()),
        (Some(received), Some(current)) => {
            inequivalent(ALTERNATE, &format!("received '{received}' but current is '{current}'"))
        }
        (received, current) => {
            let [received, current] = [received, current].map(|text| text.map_or("none".into(), value));
            inequivalent(ALTERNATE, &format!("received {received} but current is {current}"))
        }
    }
}
