//! Against a small server of websockets.
#![expect(clippy::result_large_err, reason = "the shape of a handshake's callback is the library's")]

use super::*;
use relay_runner_core::event::FailureKind;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::{accept_async, accept_hdr_async};

const LIMIT: Duration = Duration::from_secs(20);
type Server = WebSocketStream<TcpStream>;

struct Stage {
    listener: TcpListener,
    target: BusTarget,
    inputs: Inputs,
    events: mpsc::Receiver<Input>,
}

impl Stage {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (inputs, events) = Inputs::channel();
        let target = BusTarget {
            relay: RelayUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap(),
            token: Some(SecretString::from("the-token")),
            agent_id: "a1".into(),
            timing: BusTiming::default(),
        };
        Self { listener, target, inputs, events }
    }

    fn connect(&self) -> Bus {
        Bus::connect(3, self.target.clone(), &self.inputs)
    }

    async fn opened(&mut self) -> (Bus, Server) {
        let bus = self.connect();
        let (stream, _) = self.listener.accept().await.unwrap();
        let server = accept_async(stream).await.unwrap();
        assert_eq!(self.link().await, LinkReport::Opened);
        (bus, server)
    }

    async fn input(&mut self) -> Input {
        tokio::time::timeout(LIMIT, self.events.recv()).await.expect("an input in time").unwrap()
    }

    async fn link(&mut self) -> LinkReport {
        match self.input().await {
            Input::Event(Event::Link(3, report)) => report,
            other => panic!("{other:?}"),
        }
    }

    async fn frame(&mut self) -> (BusFrame, Words) {
        match self.input().await {
            Input::Bus { conn: 3, frame, words } => (frame, words),
            other => panic!("{other:?}"),
        }
    }

    async fn refused(mut self, status: StatusCode) -> relay_runner_core::Failure {
        let bus = self.connect();
        let (stream, _) = self.listener.accept().await.unwrap();
        let answer = |_: &Request, _: Response| {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = status;
            refusal.headers_mut().insert("retry-after", "7".parse().unwrap());
            Err(refusal)
        };
        accept_hdr_async(stream, answer).await.unwrap_err();
        let LinkReport::Failed(failure) = self.link().await else { panic!("failed") };
        drop(bus);
        failure
    }
}

#[tokio::test]
async fn the_token_goes_in_a_header_to_the_bus_path() {
    let mut stage = Stage::new().await;
    let _bus = stage.connect();
    let (stream, _) = stage.listener.accept().await.unwrap();
    let check = |request: &Request, response: Response| {
        assert_eq!(request.uri().path(), "/api/bus");
        assert_eq!(request.uri().query(), None);
        assert_eq!(request.headers()["x-agent-relay-token"], "the-token");
        Ok(response)
    };
    accept_hdr_async(stream, check).await.unwrap();
    assert_eq!(stage.link().await, LinkReport::Opened);
}

#[tokio::test]
async fn frames_go_both_ways_and_bring_their_words() {
    let mut stage = Stage::new().await;
    let (bus, mut server) = stage.opened().await;
    bus.send("{\"type\":\"x\"}".to_owned());
    assert_eq!(server.next().await.unwrap().unwrap(), Wire::text("{\"type\":\"x\"}"));

    let message = serde_json::json!({"type": "event", "id": "f1", "payload": {"seq": 5, "event": "message.new",
        "data": {"id": 7, "from": "alice", "to": "a1", "body": "words", "createdAt": 0}}});
    server.send(Wire::text(message.to_string())).await.unwrap();
    let (frame, words) = stage.frame().await;
    assert!(matches!(frame, BusFrame::Event { seq: 5, .. }), "{frame:?}");
    assert_eq!(words.message.unwrap().body, "words");

    let command = serde_json::json!({"type": "command", "id": "f2", "payload": {"commandId": "c1",
        "commandType": "agent.injectContext", "target": "a1", "params": {"content": "remember"}}});
    server.send(Wire::text(command.to_string())).await.unwrap();
    let (_, words) = stage.frame().await;
    assert_eq!(words.content.as_deref(), Some("remember"));
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_and_the_connection_goes_on() {
    let mut stage = Stage::new().await;
    let (_bus, mut server) = stage.opened().await;
    server.send(Wire::text("{nonsense")).await.unwrap();
    assert!(matches!(stage.frame().await.0, BusFrame::Malformed { .. }));
    server.send(Wire::text("{\"type\":\"newer\",\"payload\":{}}")).await.unwrap();
    assert_eq!(stage.frame().await.0, BusFrame::Unknown { kind: "newer".into() });
    server.send(Wire::binary(vec![1, 2, 3])).await.unwrap();
    assert!(matches!(stage.frame().await.0, BusFrame::Malformed { .. }));
    server.send(Wire::text("{\"type\":\"ack\",\"payload\":{\"frameId\":\"r\"}}")).await.unwrap();
    assert_eq!(stage.frame().await.0, BusFrame::Ack { frame: "r".into() });
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_connection() {
    let mut stage = Stage::new().await;
    let (_bus, mut server) = stage.opened().await;
    let huge = "x".repeat(FRAME_MOST + 1);
    // The runner may be gone before all of it is sent.
    let _ = server.send(Wire::text(huge)).await;
    let LinkReport::Closed(reason) = stage.link().await else { panic!("closed") };
    assert!(reason.contains("broke"), "{reason}");
}

#[tokio::test]
async fn an_end_is_reported_however_it_comes() {
    let mut stage = Stage::new().await;
    let (_bus, mut server) = stage.opened().await;
    server.close(None).await.unwrap();
    assert!(matches!(stage.link().await, LinkReport::Closed(_)));

    let (_bus, server) = stage.opened().await;
    drop(server);
    assert!(matches!(stage.link().await, LinkReport::Closed(_)));
}

#[tokio::test]
async fn silence_is_noticed() {
    let mut stage = Stage::new().await;
    stage.target.timing.ping = Duration::from_millis(20);
    stage.target.timing.silence = Duration::from_millis(100);
    // The server is not read from, so that it answers no ping.
    let (_bus, _server) = stage.opened().await;
    let LinkReport::Closed(reason) = stage.link().await else { panic!("closed") };
    assert!(reason.contains("nothing was heard"), "{reason}");
}

#[tokio::test]
async fn pings_keep_a_quiet_connection_alive() {
    let mut stage = Stage::new().await;
    stage.target.timing.ping = Duration::from_millis(20);
    stage.target.timing.silence = Duration::from_millis(200);
    let (_bus, mut server) = stage.opened().await;
    let mut pings = 0;
    // Reading answers them.
    while pings < 20 {
        if let Wire::Ping(_) = server.next().await.unwrap().unwrap() {
            pings += 1;
        }
    }
    assert!(stage.events.try_recv().is_err());
}

#[tokio::test]
async fn a_refusal_at_the_upgrade_says_what_it_was() {
    let unauthorized = Stage::new().await.refused(StatusCode::UNAUTHORIZED).await;
    assert_eq!(unauthorized.kind, FailureKind::Unauthorized);
    assert!(unauthorized.text.contains("401") && !unauthorized.text.contains("the-token"), "{}", unauthorized.text);
    let forbidden = Stage::new().await.refused(StatusCode::FORBIDDEN).await;
    assert_eq!(forbidden.kind, FailureKind::Unauthorized);
    let busy = Stage::new().await.refused(StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(busy.kind, FailureKind::Busy { retry_after: Some(7_000) });
    assert_eq!(Stage::new().await.refused(StatusCode::NOT_FOUND).await.kind, FailureKind::NotFound);
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_nothing_said_is_a_time_out() {
    let mut stage = Stage::new().await;
    let address = stage.listener.local_addr().unwrap();
    stage.target.timing.connect = Duration::from_millis(100);
    let _bus = stage.connect();
    let _silent = stage.listener.accept().await.unwrap();
    let LinkReport::Failed(failure) = stage.link().await else { panic!("failed") };
    assert_eq!(failure.kind, FailureKind::TimedOut);

    let Stage { listener, target, inputs, events, .. } = stage;
    drop(listener);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stage = Stage { listener, target, inputs, events };
    let _bus = stage.connect();
    let LinkReport::Failed(failure) = stage.link().await else { panic!("failed") };
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.text.contains(&address.to_string()), "{}", failure.text);
}

#[tokio::test]
async fn who_closes_still_sends_what_waited_and_hears_nothing_more() {
    let mut stage = Stage::new().await;
    let (bus, mut server) = stage.opened().await;
    bus.send("last".to_owned());
    let close = bus.close();
    let read = async {
        assert_eq!(server.next().await.unwrap().unwrap(), Wire::text("last"));
        assert!(matches!(server.next().await, Some(Ok(Wire::Close(_)))));
    };
    tokio::join!(close, read);
    assert!(stage.events.try_recv().is_err());
}
