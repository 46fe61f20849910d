//! Clients that send requests until they are stopped.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tagtrail_querylog::Timestamp;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ledger::{Promise, Request};
use crate::random::Random;

/// How many requests are sent at a time.
const CLIENTS: u64 = 24;
/// After this, a client no longer waits for a response, and knows nothing.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Shared {
    ledger: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Driver {
    pub(crate) fn start(seed: u64, services: &[SocketAddr]) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let shared = Arc::new(Shared::default());
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let random = Random::new(seed, 1_000 + client);
            clients.spawn(send(http.clone(), services.to_vec(), random, Arc::clone(&shared)));
        }
        Ok(Self { shared, clients })
    }

    /// Waits for the responses, and returns what was sent.
    pub(crate) async fn stop(mut self) -> Vec<Request> {
        self.shared.stopped.store(true, Relaxed);
        while self.clients.join_next().await.is_some() {}
        std::mem::take(&mut *self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn send(http: reqwest::Client, services: Vec<SocketAddr>, mut random: Random, shared: Arc<Shared>) {
    let ledger = || shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
    while !shared.stopped.load(Relaxed) {
        let promise = random.pick(&Promise::ALL);
        let service = random.pick(&[0, 1]);
        let number = {
            let mut ledger = ledger();
            ledger.push(Request { promise, service, sent: Timestamp::now(), responded: None });
            ledger.len() - 1
        };
        let url = format!("http://{}/{}/{number}", services[service], promise.path());
        if responds(&http, &url).await {
            ledger()[number].responded = Some(Timestamp::now());
        } else {
            // The service may be away.
            sleep(Duration::from_millis(200)).await;
        }
        sleep(random.millis(5, 30)).await;
    }
}

async fn responds(http: &reqwest::Client, url: &str) -> bool {
    match http.get(url).send().await {
        Ok(response) => response.status().as_u16() == 200 && response.bytes().await.is_ok(),
        Err(_) => false,
    }
}
