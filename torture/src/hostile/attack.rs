//! The hostile clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use h2::Reason;
use orch_transport::Dial;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::codegen::http::Request;

/// What an attack came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attacked {
    /// Calls or connections that were made.
    pub made: u64,
    /// Connections that the server cut or refused.
    pub cut: u64,
}

/// Asks nothing of anybody, and computes on every processor.
pub async fn busy(time: Duration) {
    let end = Instant::now() + time;
    let mut threads = JoinSet::new();
    for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
        threads.spawn(async move {
            while Instant::now() < end {
                for n in 0..100_000_u64 {
                    std::hint::black_box(n);
                }
                tokio::task::yield_now().await;
            }
        });
    }
    while threads.join_next().await.is_some() {}
}

/// Connections from which calls are taken back.
const RESETTING: usize = 4;

/// Makes calls and takes them back at once, over a few connections that are made again whenever they are cut: for `time`, and
/// then until one was cut, or `patience` is over.
pub async fn resets(dial: Dial, time: Duration, patience: Duration) -> Attacked {
    let began = Instant::now();
    let lasts = Arc::new(Lasts { end: began + time, last: began + time + patience, cut: AtomicU64::new(0) });
    let mut attackers = JoinSet::new();
    for _ in 0..RESETTING {
        let (dial, lasts) = (dial.clone(), Arc::clone(&lasts));
        attackers.spawn(async move {
            let mut attacked = Attacked::default();
            while lasts.go_on() {
                let (made, cut) = reset_until_cut(&dial, &lasts).await;
                attacked.made += made;
                attacked.cut += u64::from(cut);
                lasts.cut.fetch_add(u64::from(cut), Ordering::Relaxed);
            }
            attacked
        });
    }
    sum(attackers).await
}

/// How long calls are taken back.
struct Lasts {
    end: Instant,
    last: Instant,
    /// Connections that were cut so far.
    cut: AtomicU64,
}

impl Lasts {
    fn go_on(&self) -> bool {
        let now = Instant::now();
        now < self.end || (now < self.last && self.cut.load(Ordering::Relaxed) == 0)
    }
}

/// One connection: how many calls were taken back, and whether the server put an end to that.
async fn reset_until_cut(dial: &Dial, lasts: &Lasts) -> (u64, bool) {
    let Ok(stream) = dial.stream().await else { return (0, false) };
    let Ok((client, connection)) = h2::client::handshake(stream).await else { return (0, false) };
    let driver = tokio::spawn(connection);
    let (mut client, mut made) = (client, 0);
    while lasts.go_on() {
        // A server that does not read any more takes no more calls, and holds us until it cuts the connection.
        let ready = tokio::time::timeout_at(lasts.last.into(), client.ready()).await;
        let Ok(Ok(mut ready)) = ready else {
            driver.abort();
            return (made, true);
        };
        let request = Request::post("http://orch/orch.v1.AdminService/Stats")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(());
        let Ok(request) = request else { break };
        let Ok((_, mut body)) = ready.send_request(request, false) else {
            driver.abort();
            return (made, true);
        };
        // The five bytes of an empty message: the call is whole, and its handler begins.
        let _ = body.send_data(vec![0; 5].into(), false);
        // What was asked for leaves before it is taken back.
        tokio::task::yield_now().await;
        body.send_reset(Reason::CANCEL);
        made += 1;
        client = ready;
    }
    driver.abort();
    (made, false)
}

/// Holds so many silent connections, each made again when it is put out.
pub async fn flood(address: String, connections: usize, time: Duration) -> Attacked {
    let end = tokio::time::Instant::now() + time;
    let (made, cut) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut attackers = JoinSet::new();
    for _ in 0..connections {
        let (address, made, cut) = (address.clone(), Arc::clone(&made), Arc::clone(&cut));
        attackers.spawn(async move {
            loop {
                if let Ok(mut tcp) = TcpStream::connect(&address).await {
                    made.fetch_add(1, Ordering::Relaxed);
                    let _ = tcp.read(&mut [0]).await;
                }
                cut.fetch_add(1, Ordering::Relaxed);
                // As fast as a patient attacker does it: the door is to be tested, not this machine's processors.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    tokio::time::sleep_until(end).await;
    attackers.shutdown().await;
    Attacked { made: made.load(Ordering::Relaxed), cut: cut.load(Ordering::Relaxed) }
}

/// What slow clients begin with, and then send a byte at a time of, or nothing more.
const SLOW: [&[u8]; 5] = [
    b"",
    b"GET /healthz HTTP/1.1\r\nhost: orch\r\nx-slow: ",
    b"PRI * HTTP/2.0\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    // The head of a handshake of 512 bytes.
    b"\x16\x03\x01\x02\x00\x01",
];

/// Slow connections of all sorts, until each of them is cut or `patience` is over.
pub async fn slow(address: String, connections: usize, tls: bool, patience: Duration) -> Attacked {
    let mut attackers = JoinSet::new();
    for n in 0..connections {
        // Without TLS a handshake is only garbage, and the other way round.
        let sorts: &[usize] = if tls { &[0, 4] } else { &[0, 1, 2, 3] };
        let begin = SLOW[sorts[n % sorts.len()]];
        let address = address.clone();
        attackers.spawn(async move {
            let Ok(mut tcp) = TcpStream::connect(&address).await else { return Attacked { made: 1, cut: 1 } };
            let cut = tokio::time::timeout(patience, drip(&mut tcp, begin)).await.is_ok();
            Attacked { made: 1, cut: u64::from(cut) }
        });
    }
    sum(attackers).await
}

/// Sends a little, then a byte now and then, until the connection ends.
async fn drip(tcp: &mut TcpStream, begin: &[u8]) {
    let (mut from, mut to) = tcp.split();
    let reading = async {
        let mut bytes = [0; 256];
        while from.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    };
    let writing = async {
        let whole = begin.is_empty() || begin.ends_with(&[0; 5]);
        if to.write_all(begin).await.is_err() {
            return;
        }
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if !whole && to.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

async fn sum(mut attackers: JoinSet<Attacked>) -> Attacked {
    let mut all = Attacked::default();
    while let Some(Ok(Attacked { made, cut })) = attackers.join_next().await {
        all.made += made;
        all.cut += cut;
    }
    all
}
