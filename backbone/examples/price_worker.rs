//! A worker with logic of its own: its tasks name a product, and its handler looks up what the labels of that product
//! are to show.
//!
//! ```sh
//! cargo run -p backbone --example price_worker -- backbone.toml products.csv
//! ```
//!
//! A line of `products.csv` is a product's number, its version, its price, and its labels' addresses with spaces
//! between them. A task is `{"task_id": "t-1", "product": 17}` in the queue `task_queue`. The handler knows its
//! products through a trait of its own, so that the same handler runs in production with a database, and in the
//! simulator with another one (`sim/tests/world/own_handler.rs`).

use anyhow::Context as _;
use backbone::{
    config::Config,
    env::Env,
    message::{Command, Mac, Message, TaskId, TaskMessage},
    service::{Calls, Failure, Handler, Worker},
    telemetry::LogTelemetry,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, future::Future, sync::Arc};
use tokio_util::sync::CancellationToken;

/// Show what a product costs, on all of its labels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowPrice {
    task_id: TaskId,
    product: u32,
}

impl Message for ShowPrice {
    const KIND: &'static str = "price task";
    const BYTES_MAX: usize = 1_024;
}

impl TaskMessage for ShowPrice {
    fn task_id(&self) -> &TaskId {
        &self.task_id
    }
}

/// What a product costs, and which labels say so.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    /// Grows with every change.
    pub(crate) version: u64,
    /// Like `12.90`.
    pub(crate) price: String,
    /// Its labels.
    pub(crate) labels: Vec<Mac>,
}

/// Where products are known.
pub(crate) trait Products: Send + Sync + 'static {
    /// The product with this number, if there is one. `env` is the way to a database.
    ///
    /// # Errors
    /// For people: why nobody could be asked.
    fn find(&self, env: &Env, product: u32) -> impl Future<Output = Result<Option<Product>, String>> + Send;
}

/// The worker's logic.
pub(crate) struct Prices<P>(pub(crate) P);

impl<P: Products> Handler for Prices<P> {
    type Task = ShowPrice;

    async fn handle(&self, task: &ShowPrice, calls: &Calls<'_>) -> Result<(), Failure> {
        let found = self.0.find(calls.env(), task.product).await.map_err(Failure::again)?;
        let product = found.ok_or_else(|| Failure::give_up(format!("there is no product {}", task.product)))?;
        let body = serde_json::value::to_raw_value(&product.price).map_err(Failure::give_up)?;
        let command = |label: &Mac| Command { esl_mac: *label, version: product.version, body: body.clone() };
        let commands: Vec<Command> = product.labels.iter().map(command).collect();
        Failure::unless_all_succeeded(&calls.send(&commands).await?)
    }
}

/// Products in a table.
#[derive(Debug, Default)]
pub(crate) struct Table(pub(crate) BTreeMap<u32, Product>);

impl Products for Table {
    async fn find(&self, _env: &Env, product: u32) -> Result<Option<Product>, String> {
        Ok(self.0.get(&product).cloned())
    }
}

/// A line of the file.
fn product(line: &str) -> anyhow::Result<(u32, Product)> {
    let fields: Vec<&str> = line.split(',').collect();
    let [number, version, price, labels] = fields[..] else { anyhow::bail!("expected four fields") };
    let labels = labels.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    Ok((number.parse()?, Product { version: version.parse()?, price: price.to_owned(), labels }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, products] = &arguments[..] else { anyhow::bail!("expected: price_worker CONFIG.toml PRODUCTS.csv") };
    let text = std::fs::read_to_string(products).with_context(|| format!("reading {products}"))?;
    let read = |(index, line): (usize, &str)| product(line).with_context(|| format!("{products}, line {}", index + 1));
    let table = Table(text.lines().enumerate().map(read).collect::<anyhow::Result<_>>()?);
    let config = Arc::new(Config::load(config.as_ref())?);
    let (env, stop) = (Env::tokio(), CancellationToken::new());
    let stopping = stop.clone();
    env.spawn("signal", async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stopping.cancel();
        }
    });
    Worker::new(Prices(table)).run(env, config, Arc::new(LogTelemetry::default()), stop).await;
    Ok(())
}
