//! How a replica stands with the MQTT broker, for readiness.

use super::Generation;
use crate::{
    answers::{Answers, Question},
    env::Env,
    needs::Needs,
    telemetry::Standing,
};
use rumqttc::AsyncClient;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Limit of the wait for an answer to a question that only asks whether the broker is there: as long as for a PUBACK.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// What nobody is subscribed to. To unsubscribe from it changes nothing, and is answered (MQTT 5, 3.10.4). A ping would
/// be for that, but the client keeps those to itself.
const NO_TOPIC: &str = "shelfwire/check";

/// What is known of the connection.
pub(super) struct Link {
    pub(super) env: Env,
    pub(super) client: AsyncClient,
    /// `None` while there is no connection.
    pub(super) generation: watch::Receiver<Option<Generation>>,
    /// Tells the driver which connection does not answer.
    pub(super) give_up: watch::Sender<Option<Generation>>,
    pub(super) answers: Arc<Answers>,
    pub(super) needs: Arc<Needs>,
}

impl Link {
    /// Whether the service can work over it. Has a broker asked that has been silent.
    pub(super) fn standing(&self) -> Standing {
        let Some(generation) = *self.generation.borrow() else { return Standing::Down };
        if let Some(question) = self.answers.question(false) {
            self.ask_in_background(generation, question);
        }
        let lacking = self.needs.reason().or_else(|| self.answers.overdue("the MQTT broker"));
        lacking.map_or(Standing::Up, Standing::Stalled)
    }

    /// Asks the broker whether it is there, and has the connection given up if not.
    fn ask_in_background(&self, generation: Generation, question: Question) {
        let (client, answers, give_up) = (self.client.clone(), self.answers.clone(), self.give_up.clone());
        self.env.spawn("mqtt question", async move {
            let answer = async {
                if let Ok(notice) = client.unsubscribe_tracked(NO_TOPIC).await {
                    // A lost connection is as good as an answer: there will be another.
                    let _ = notice.wait_async().await;
                }
            };
            if !answers.wait(question, ANSWER_LIMIT, answer).await {
                give_up.send_replace(Some(generation));
            }
        });
    }
}
