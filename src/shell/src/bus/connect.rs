//! Opening the websocket: TCP, TLS where the URL says so, and the upgrade with the token in a header.

use super::{BusTarget, FRAME_MOST};
use crate::tls;
use relay_runner_core::event::{Failure, FailureKind};
use relay_runner_protocol::http::{BUS, TOKEN_HEADER};
use secrecy::ExposeSecret;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::RETRY_AFTER;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub(super) async fn open(target: &BusTarget) -> Result<WebSocketStream<Stream>, Failure> {
    let url = target.relay.websocket(BUS);
    let failed = |kind, why: String| Failure { kind, text: format!("cannot connect to {url}: {why}").into() };
    match tokio::time::timeout(target.timing.connect, dial(target, &url)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((kind, why))) => Err(failed(kind, why)),
        Err(_) => Err(failed(FailureKind::TimedOut, format!("no answer within {:?}", target.timing.connect))),
    }
}

async fn dial(target: &BusTarget, url: &str) -> Result<WebSocketStream<Stream>, (FailureKind, String)> {
    let unreachable = |e: io::Error| (FailureKind::Unreachable, e.to_string());
    let mut request = url.into_client_request().map_err(|e| (FailureKind::Invalid, e.to_string()))?;
    if let Some(token) = &target.token {
        let mut value = HeaderValue::from_str(token.expose_secret())
            .map_err(|_| (FailureKind::Invalid, "the token is no header value".to_owned()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(TOKEN_HEADER, value);
    }
    let tcp = TcpStream::connect((target.relay.host(), target.relay.port())).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let stream = if target.relay.is_secured() {
        let config = tls::secured().map_err(|why| (FailureKind::Io, why))?;
        let name =
            ServerName::try_from(target.relay.host().to_owned()).map_err(|e| (FailureKind::Invalid, e.to_string()))?;
        Stream::Secured(Box::new(TlsConnector::from(config).connect(name, tcp).await.map_err(unreachable)?))
    } else {
        Stream::Plain(tcp)
    };
    let config = WebSocketConfig::default()
        // The library's own 128 KiB are much for a runner that waits.
        .read_buffer_size(8 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(FRAME_MOST))
        .max_frame_size(Some(FRAME_MOST));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(refusal(error)),
    }
}

fn refusal(error: Error) -> (FailureKind, String) {
    match error {
        Error::Http(response) => {
            let status = response.status();
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|v| v.to_str().ok()?.trim().parse::<u64>().ok())
                .map(|seconds| seconds.saturating_mul(1_000));
            let kind = match status.as_u16() {
                401 | 403 => FailureKind::Unauthorized,
                404 => FailureKind::NotFound,
                429 | 503 => FailureKind::Busy { retry_after },
                400..=499 => FailureKind::Invalid,
                _ => FailureKind::Server,
            };
            (kind, format!("HTTP {status} at the upgrade"))
        }
        Error::Io(error) => (FailureKind::Unreachable, error.to_string()),
        error @ Error::Protocol(_) => (FailureKind::Server, format!("it is no websocket: {error}")),
        error => {
            let cause = error.source().map(|c| format!(": {c}")).unwrap_or_default();
            (FailureKind::Unreachable, format!("{error}{cause}"))
        }
    }
}

/// A connection with or without TLS.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Secured(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Secured(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
