//! A bad line between a runner and its relay: a proxy that loses, holds and swallows what it is told to.
//!
//! It knows as much of HTTP as it needs: a request begins with its method, and a client sends the next one only after
//! the answer to the last.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use tokio::time::Instant;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It never arrives, and the connection breaks.
    Lost,
    /// It arrives; the connection breaks instead of an answer.
    AnswerLost,
    /// It never arrives, and nothing more happens on the connection.
    Hangs,
}

#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    line: Arc<Mutex<Line>>,
}

#[derive(Debug, Default)]
struct Line {
    /// A part of a request's first line, and what becomes of requests with it, until it is taken back.
    faults: Vec<(String, Fault)>,
    /// The requests that came, whatever became of them.
    requests: Vec<Request>,
    connections: Vec<Connection>,
    over: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) head: String,
    pub(super) at: Instant,
}

/// One connection through the proxy: both ends, and what is wrong with it.
#[derive(Debug, Clone)]
struct Connection {
    client: Arc<TcpStream>,
    relay: Arc<TcpStream>,
    /// It was upgraded to the bus.
    is_bus: Arc<AtomicBool>,
    /// Nothing gets through to the relay any more.
    deaf: Arc<AtomicBool>,
    /// Nothing gets through to the client any more.
    dumb: Arc<AtomicBool>,
    /// It breaks with the next thing that the relay says.
    breaks: Arc<AtomicBool>,
}

impl Proxy {
    /// To the relay at this URL.
    pub(super) fn to(relay: &str) -> Self {
        let relay: SocketAddr = relay.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), line: Arc::default() };
        let line = Arc::clone(&proxy.line);
        thread::spawn(move || accept(&listener, relay, &line));
        proxy
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this becomes of every request whose first line holds `what`.
    pub(super) fn faults(&self, what: &str, fault: Fault) {
        self.line().faults.push((what.to_owned(), fault));
    }

    /// Requests get through again. What hangs goes on hanging.
    pub(super) fn recovers(&self) {
        self.line().faults.clear();
    }

    /// Every connection breaks.
    pub(super) fn breaks(&self) {
        for connection in self.line().connections.drain(..) {
            connection.end();
        }
    }

    /// The connections that there are stay open, and nothing gets through in either direction. New ones are well.
    pub(super) fn falls_silent(&self) {
        for connection in &self.line().connections {
            connection.deaf.store(true, Ordering::SeqCst);
            connection.dumb.store(true, Ordering::SeqCst);
        }
    }

    /// What the runner says on the bus gets lost; what the relay says there still arrives.
    pub(super) fn swallows_what_is_said_on_the_bus(&self) {
        for connection in self.line().connections.iter().filter(|c| c.is_bus.load(Ordering::SeqCst)) {
            connection.deaf.store(true, Ordering::SeqCst);
        }
    }

    /// Requests whose first line holds `what`, so far.
    pub(super) fn requests(&self, what: &str) -> Vec<Request> {
        let is_it = |request: &&Request| request.head.lines().next().is_some_and(|line| line.contains(what));
        self.line().requests.iter().filter(is_it).cloned().collect()
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line().over = true;
        self.breaks();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl Request {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &str| line.split_once(": ").is_some_and(|(given, _)| given.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| of(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }
}

impl Connection {
    fn end(&self) {
        // Gone already is as good.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.relay.shutdown(Shutdown::Both);
    }
}

fn accept(listener: &TcpListener, relay: SocketAddr, line: &Arc<Mutex<Line>>) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        let mut state = line.lock().unwrap();
        if state.over {
            return;
        }
        // The relay may be away; then the connection ends at once.
        let Ok(server) = TcpStream::connect(relay) else { continue };
        let no = || Arc::new(AtomicBool::new(false));
        let (client, relay) = (Arc::new(client), Arc::new(server));
        let connection = Connection { client, relay, is_bus: no(), deaf: no(), dumb: no(), breaks: no() };
        state.connections.push(connection.clone());
        let (up, down, line) = (connection.clone(), connection, Arc::clone(line));
        thread::spawn(move || carry_requests(&up, &line));
        thread::spawn(move || carry_answers(&down));
    }
}

fn carry_requests(connection: &Connection, line: &Mutex<Line>) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = (&*connection.client).read(&mut chunk) {
        if let Some(head) = head_of(&chunk[..length]) {
            let mut line = line.lock().unwrap();
            let first = head.lines().next().unwrap_or_default();
            connection.is_bus.fetch_or(first.contains("/api/bus"), Ordering::SeqCst);
            let fault = line.faults.iter().find(|(what, _)| first.contains(what.as_str())).map(|(_, fault)| *fault);
            line.requests.push(Request { head, at: Instant::now() });
            match fault {
                None => {}
                Some(Fault::Lost) => break,
                Some(Fault::AnswerLost) => connection.breaks.store(true, Ordering::SeqCst),
                Some(Fault::Hangs) => connection.deaf.store(true, Ordering::SeqCst),
            }
        }
        let deaf = connection.deaf.load(Ordering::SeqCst);
        if !deaf && (&*connection.relay).write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    connection.end();
}

fn carry_answers(connection: &Connection) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = (&*connection.relay).read(&mut chunk) {
        if connection.breaks.load(Ordering::SeqCst) {
            break;
        }
        let dumb = connection.dumb.load(Ordering::SeqCst);
        if !dumb && (&*connection.client).write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    // A silent connection stays open for the client, whatever the relay thinks of it.
    if !connection.dumb.load(Ordering::SeqCst) {
        connection.end();
    }
}

/// The head of the request that begins here, if one does.
fn head_of(chunk: &[u8]) -> Option<String> {
    let begins = [&b"GET "[..], b"POST ", b"PUT ", b"DELETE "].iter().any(|method| chunk.starts_with(method));
    let text = String::from_utf8_lossy(chunk);
    begins.then(|| text.split("\r\n\r\n").next().unwrap_or_default().to_owned())
}
