//! A connection's bytes, plain or encrypted, with errors that people can act upon.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsStream;

/// A connection, plain or encrypted.
#[derive(Debug)]
pub struct Stream {
    bytes: Bytes,
    /// Whether the other side is a server.
    client: bool,
    /// Whether something was read from it yet.
    heard: bool,
    /// Who waits for its first word.
    waiting: Option<oneshot::Sender<FirstWord>>,
    /// Whether to move, if it ever may.
    mover: Option<Mover>,
}

/// Moves a connection to another runtime.
#[derive(Clone, Debug, Default)]
pub struct Mover(Arc<AtomicBool>);

impl Mover {
    /// From the next time that it is read from, the runtime in which that happens watches the connection.
    pub fn now(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What came first from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FirstWord {
    /// Something.
    Said,
    /// A refusal, or something that is not what was asked for: the text says what to change.
    Refused(String),
}

#[derive(Debug)]
enum Bytes {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// A plain connection that a server accepted.
    pub fn accepted(tcp: TcpStream) -> Self {
        Self { bytes: Bytes::Plain(tcp), client: false, heard: false, waiting: None, mover: None }
    }

    /// A plain connection that a client made.
    pub(crate) fn dialled(tcp: TcpStream) -> Self {
        Self { bytes: Bytes::Plain(tcp), client: true, heard: false, waiting: None, mover: None }
    }

    /// A connection under TLS.
    pub(crate) fn encrypted(tls: impl Into<TlsStream<TcpStream>>) -> Self {
        let tls = tls.into();
        let client = matches!(tls, TlsStream::Client(_));
        Self { bytes: Bytes::Tls(Box::new(tls)), client, heard: false, waiting: None, mover: None }
    }

    /// To move it to another runtime than the one in which it was accepted.
    pub fn mover(&mut self) -> Mover {
        self.mover.get_or_insert_default().clone()
    }

    /// Has the current runtime watch the connection: what a runtime watches is woken by its threads, whoever reads.
    fn move_here(&mut self) -> io::Result<()> {
        let tcp = match &mut self.bytes {
            Bytes::Plain(tcp) => tcp,
            Bytes::Tls(tls) => tls.get_mut().0,
        };
        let same: OwnedFd = tcp.as_fd().try_clone_to_owned()?;
        *tcp = TcpStream::from_std(same.into())?;
        Ok(())
    }

    /// To be told of the server's first word; of nothing if the connection ends without one.
    pub(crate) fn first_word(&mut self) -> oneshot::Receiver<FirstWord> {
        let (sender, receiver) = oneshot::channel();
        self.waiting = Some(sender);
        receiver
    }

    fn tell(&mut self, word: impl FnOnce() -> FirstWord) {
        if let Some(waiting) = self.waiting.take() {
            // Whoever waited may have gone.
            let _ = waiting.send(word());
        }
    }

    /// What a failure means; told to whoever waits for the first word.
    fn explain(&mut self, error: io::Error) -> io::Error {
        let error = self.in_words(error);
        if let Some(refusal) = tls_refusal(&error) {
            self.tell(|| FirstWord::Refused(refusal));
        }
        error
    }

    fn in_words(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match &self.bytes {
            Bytes::Plain(_) => error,
            Bytes::Tls(_) => {
                let broken = matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
                if broken && self.client && !self.heard {
                    // A server refuses a certificate after the client's side of the handshake is done, and its word is
                    // lost when we were writing at that moment.
                    let text = "the server ended the TLS connection before it said anything: does it want a client \
                                certificate (--tls-cert and --tls-key), or another one?";
                    return io::Error::new(error.kind(), text);
                }
                alert(error)
            }
        }
    }
}

/// Begins the text of every failure that another try cannot change. Errors pass through layers that keep their text only.
const MARK: &str = "TLS: ";

/// What of an error is a refusal under TLS, or of TLS: certificates or settings must change before another try.
pub fn tls_refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if let Some(at) = text.find(MARK) {
            return Some(text[at + MARK.len()..].to_owned());
        }
        cause = error.source();
    }
    None
}

/// What a peer that ends the connection by an alert wants, in words.
pub(crate) fn alert(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::AlertReceived(alert)) = inner else { return error };
    let text = match alert {
        AlertDescription::CertificateRequired => {
            "the server wants a client certificate: name one with --tls-cert and --tls-key".to_owned()
        }
        AlertDescription::UnknownCA => {
            "the other side does not know the authority of our certificate: use one that its CA signed".to_owned()
        }
        AlertDescription::CertificateExpired => {
            "the other side says that our certificate has expired: renew it, or compare the clocks".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError => format!("the other side refuses our certificate ({alert:?})"),
        other => format!("the other side ended the TLS connection ({other:?})"),
    };
    io::Error::new(error.kind(), format!("{MARK}{text}"))
}

/// What the first bytes tell of a server that is spoken to without TLS.
fn not_plain(first: &[u8]) -> Option<io::Error> {
    // 0x15: an alert of TLS. A server under TLS may also say in HTTP/1 that it was spoken to in the wrong way.
    let tls = first.first() == Some(&0x15) || first.starts_with(b"HTTP/1.");
    tls.then(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the server seems to speak TLS: write https:// in its address")
    })
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.mover.take_if(|mover| mover.0.load(Ordering::Acquire)).is_some() {
            // Without a descriptor to spare it stays where it is watched now, which is slower and no worse.
            let _ = this.move_here();
        }
        let before = buf.filled().len();
        let read = match &mut this.bytes {
            Bytes::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Bytes::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        if let Err(error) = ready!(read) {
            return Poll::Ready(Err(this.explain(error)));
        }
        if this.client && !this.heard && buf.filled().len() > before {
            this.heard = true;
            if let (Bytes::Plain(_), Some(error)) = (&this.bytes, not_plain(&buf.filled()[before..])) {
                return Poll::Ready(Err(this.explain(error)));
            }
            this.tell(|| FirstWord::Said);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.bytes {
            Bytes::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Bytes::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        };
        written.map_err(|error| this.explain(error))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.bytes {
            Bytes::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Bytes::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        };
        written.map_err(|error| this.explain(error))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(tcp) => tcp.is_write_vectored(),
            Bytes::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = match &mut this.bytes {
            Bytes::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Bytes::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        flushed.map_err(|error| this.explain(error))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = match &mut this.bytes {
            Bytes::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Bytes::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        };
        shut.map_err(|error| this.explain(error))
    }
}
