//! A TCP proxy that makes a server slow, or cuts its connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// What happens to what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    Forwarded,
    /// Each packet is late by this much.
    Delayed(Duration),
    /// Connections are closed.
    Cut,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    traffic: Arc<watch::Sender<Traffic>>,
}

impl Proxy {
    /// Starts a proxy to a server on loopback.
    pub(crate) async fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let traffic = Arc::new(watch::Sender::new(Traffic::Forwarded));
        let sender = Arc::clone(&traffic);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let traffic = sender.subscribe();
                tokio::spawn(async move { connect(client, server, traffic).await });
            }
        });
        Ok(Self { port, traffic })
    }

    pub(crate) fn set(&self, traffic: Traffic) {
        self.traffic.send_replace(traffic);
    }
}

async fn connect(client: TcpStream, server: u16, traffic: watch::Receiver<Traffic>) -> io::Result<()> {
    let mut cut = traffic.clone();
    if *traffic.borrow() == Traffic::Cut {
        return Ok(());
    }
    let server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = forward(from_client, to_server, &traffic) => {}
        _ = forward(from_server, to_client, &traffic) => {}
        _ = cut.wait_for(|traffic| *traffic == Traffic::Cut) => {}
    }
    Ok(())
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    traffic: &watch::Receiver<Traffic>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        let traffic = *traffic.borrow();
        if let Traffic::Delayed(time) = traffic {
            sleep(time).await;
        }
        to.write_all(&bytes[..read]).await?;
    }
}
