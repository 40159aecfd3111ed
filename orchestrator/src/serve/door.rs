//! Where connections are until somebody who may come in has asked something over them: threads that give way to all
//! others.
//!
//! Accepting, handshakes, first bytes and refusals are done at the door, for whoever comes, as fast as the machine has
//! time for it. The first call that is let pass makes its connection known: that call's handler begins inside, among the
//! threads of those who are at work, and the connection follows it there with everything that it still does. So a flood
//! of strangers takes the time of strangers.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::available_parallelism;

use hyper::rt::Executor;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// Strangers take no more processors than this, even of a machine that has nothing else to do.
const MOST_THREADS: usize = 4;

/// How far the door's threads give way: whoever is at work weighs three times as much. More was measured to do no more for
/// those inside, and to keep out whoever comes in a flood or to a machine that is all at work.
#[cfg(target_os = "linux")]
const GIVES_WAY: i32 = 5;

/// The door's threads. They end with the last connection and call that began there, because what those wait for (a time,
/// for example) may still be told by them.
#[derive(Debug)]
pub struct Door {
    runtime: Option<Runtime>,
    inside: Handle,
}

impl Door {
    /// A door to the runtime that this is called in.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let threads = available_parallelism().map_or(1, |cores| cores.get().min(MOST_THREADS));
        let mut builder = Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(threads).thread_name("door").on_thread_start(begin).enable_all().build()?;
        Ok(Arc::new(Self { runtime: Some(runtime), inside: Handle::current() }))
    }

    /// To start something at the door.
    ///
    /// # Panics
    /// Never: the runtime is there until the drop.
    #[allow(clippy::expect_used)]
    pub fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("the door is there until it is dropped").handle()
    }

    /// A new connection's place at the door.
    pub fn place(self: &Arc<Self>) -> Place {
        Place { known: CancellationToken::new(), door: Arc::clone(self) }
    }
}

impl Drop for Door {
    /// It may be dropped by the last connection, whose thread cannot wait for itself.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

thread_local! {
    /// Whether this is one of the door's threads.
    static AT_THE_DOOR: Cell<bool> = const { Cell::new(false) };
}

/// Who may not give way serves all the same, among equals. On Linux it is a thread that does; elsewhere it would be the
/// whole process.
fn begin() {
    AT_THE_DOOR.set(true);
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(GIVES_WAY) {
        tracing::debug!(%error, "a thread of the door does not give way");
    }
}

/// A connection's place: at the door, and then inside. Clones are of the same connection; it is an extension of every
/// request that came at the door.
#[derive(Clone, Debug)]
pub struct Place {
    known: CancellationToken,
    door: Arc<Door>,
}

impl Place {
    /// Whether the connection is inside, or on its way.
    pub fn is_inside(&self) -> bool {
        self.known.is_cancelled()
    }

    /// Lets the connection in. When this returns, whoever awaited it goes on inside, with everything that it starts: it is
    /// not ready at the door, and [`Self::until_known`] around it goes no further there.
    pub async fn let_in(&self) {
        self.known.cancel();
        poll_fn(|cx| {
            if AT_THE_DOOR.get() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Does this at the door until the connection is known. What is then left of it is to go on inside.
    pub async fn until_known(&self, life: Life) -> Option<Life> {
        let mut life = life;
        tokio::select! {
            // Nothing more is done here once it is known.
            biased;
            () = self.known.cancelled() => Some(life),
            () = &mut life => None,
        }
    }

    /// The threads inside.
    pub fn inside(&self) -> &Handle {
        &self.door.inside
    }
}

/// What a task does.
pub type Life = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Calls go on where their connection is.
impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Place {
    fn execute(&self, call: F) {
        if self.is_inside() {
            self.inside().spawn(call);
            return;
        }
        let place = self.clone();
        tokio::spawn(async move {
            if let Some(call) = place.until_known(Box::pin(call)).await {
                let inside = place.inside().clone();
                inside.spawn(async move {
                    call.await;
                    drop(place);
                });
            }
        });
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn the_door_gives_way_and_what_is_let_in_does_not() {
        let priority = || getpriority_process(None).unwrap();
        let (ours, door) = (priority(), Door::new().unwrap());
        let place = door.place();
        let (told, tells) = tokio::sync::oneshot::channel();
        door.handle().spawn(async move {
            let call = {
                let place = place.clone();
                async move {
                    let there = priority();
                    place.let_in().await;
                    let started = tokio::spawn(async move { priority() }).await.unwrap();
                    let _ = told.send((there, priority(), started));
                }
            };
            place.execute(call);
        });
        assert_eq!(tells.await.unwrap(), ((ours + GIVES_WAY).min(19), ours, ours));
    }
}
