//! Answers without a queue.

use super::*;

const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";

impl Bench {
    fn consume_replies(&mut self, id: ConnectionId, no_ack: bool) -> Vec<AMQPFrame> {
        let consume = basic::Consume { queue: PSEUDO_QUEUE.into(), consumer_tag: "r".into(), no_ack, ..no_consume() };
        self.basic(id, Basic::Consume(consume))
    }

    fn ask(&mut self, id: ConnectionId) -> Vec<AMQPFrame> {
        self.publish_with(id, "q", "question", &BasicProperties::default().with_reply_to(PSEUDO_QUEUE.into()))
    }
}

/// Somebody who has asked and somebody who has to answer, under that name.
fn asked() -> (Bench, ConnectionId, ConnectionId, String) {
    let mut bench = Bench::new();
    let (asks, answers) = (bench.connect(), bench.connect());
    bench.declare(answers, "q", &[]);
    bench.consume(answers, "q", "a");
    assert_eq!(bench.consume_replies(asks, true).len(), 1);
    assert_eq!(bench.ask(asks), []);
    let question = bench.deliveries(answers).remove(0);
    let name = question.properties.reply_to().clone().unwrap().to_string();
    (bench, asks, answers, name)
}

#[test]
fn an_answer_reaches_the_channel_that_asked() {
    let (mut bench, asks, answers, name) = asked();
    assert!(name.starts_with("amq.rabbitmq.reply-to."), "{name}");
    let frames = bench.publish(answers, &name, "answer");
    let returned = matches!(frames[0], AMQPFrame::Method(1, AMQPClass::Basic(Basic::Return(_))));
    assert!(returned, "a mandatory answer returns all the same, as with RabbitMQ: {frames:?}");
    let answer = bench.deliveries(asks).remove(0);
    assert_eq!((answer.consumer.as_str(), answer.body.as_str(), answer.tag, answer.key), ("r", "answer", 1, name));
}

#[test]
fn an_answer_to_a_channel_that_is_gone_returns() {
    let (mut bench, asks, answers, name) = asked();
    bench.state.disconnect(asks);
    let frames = bench.publish(answers, &name, "answer");
    assert!(matches!(frames[0], AMQPFrame::Method(1, AMQPClass::Basic(Basic::Return(_)))), "{frames:?}");
    assert!(bench.state.reply_channels.is_empty());
}

#[test]
fn a_cancelled_consumer_gets_no_answers() {
    let (mut bench, asks, answers, name) = asked();
    bench.basic(asks, Basic::Cancel(basic::Cancel { consumer_tag: "r".into(), nowait: false }));
    bench.publish(answers, &name, "answer");
    assert_eq!(bench.deliveries(asks), []);
    assert_eq!(refusal(&bench.ask(asks)), ("channel", 406));
}

#[test]
fn answers_can_be_consumed_once_a_channel_and_without_acknowledgement_only() {
    let mut bench = Bench::new();
    let ids = [bench.connect(), bench.connect(), bench.connect()];
    assert_eq!(refusal(&bench.consume_replies(ids[0], false)), ("channel", 406));
    bench.consume_replies(ids[1], true);
    assert_eq!(refusal(&bench.consume_replies(ids[1], true)), ("channel", 406));
    assert_eq!(refusal(&bench.ask(ids[2])), ("channel", 406), "who asks must listen first");
}
