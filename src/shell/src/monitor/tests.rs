//! The monitor between an adapter that offers and somebody who listens; the test plays both, and the loop.

use super::*;
use crate::input::Input;
use crate::secret::Redactor;
use relay_runner_core::Event;
use relay_runner_core::event::Failure;

struct Stage {
    monitor: Monitor,
    inputs: Inputs,
    answers: mpsc::Receiver<Input>,
    _task: Task,
}

/// An offer is held for longer than any test lasts.
fn stage() -> Stage {
    staged(Duration::from_mins(10))
}

/// Each offer that is not acknowledged goes back after a moment.
fn hasty() -> Stage {
    staged(Duration::from_millis(50))
}

fn staged(held: Duration) -> Stage {
    let (inputs, answers) = Inputs::channel();
    let (monitor, words) = Monitor::new(true);
    let task = holding(held, words, &inputs);
    Stage { monitor, inputs, answers, _task: task }
}

impl Stage {
    fn offer(&self, op: u64, messages: &[(u64, &str)]) {
        let line = |(message, nonce): &(u64, &str)| Line {
            key: Key::Message(*message),
            nonce: (*nonce).to_owned(),
            text: format!("{message} {nonce}\n"),
        };
        let reporter = Reporter::new(self.inputs.clone(), Generation(1), Redactor::default());
        self.monitor.offer(OpId(op), Generation(1), messages.iter().map(line).collect(), reporter).unwrap();
    }

    async fn listen(&self) -> mpsc::Receiver<String> {
        let Connected::Lines(lines) = self.monitor.connect(true).await else { panic!("a connection") };
        lines
    }

    /// None: it is handed over; else why it is not.
    async fn answer(&mut self, op: u64) -> Option<String> {
        match self.answers.recv().await {
            Some(Input::Event(Event::Done(answered, result))) => {
                assert_eq!(answered, OpId(op));
                match result {
                    OpResult::Ok => None,
                    OpResult::Failed(Failure { kind: FailureKind::NotReady, text }) => Some(text.to_string()),
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_batch_is_handed_over_once_all_of_it_was_acknowledged() {
    let mut stage = stage();
    let mut lines = stage.listen().await;
    stage.offer(1, &[(7, "a"), (9, "b")]);
    assert_eq!(lines.recv().await.unwrap(), "7 a\n");
    assert_eq!(lines.recv().await.unwrap(), "9 b\n");
    assert!(stage.monitor.acknowledge(vec![Key::Message(7), Key::Message(99)]).await);
    assert!(stage.answers.try_recv().is_err(), "one of them is not read yet");
    assert!(stage.monitor.acknowledge(vec![Key::Message(9)]).await);
    assert_eq!(stage.answer(1).await, None);
}

#[tokio::test]
async fn an_offer_waits_for_somebody_who_listens() {
    let mut stage = stage();
    stage.offer(1, &[(7, "a")]);
    let mut lines = stage.listen().await;
    assert_eq!(lines.recv().await.unwrap(), "7 a\n");
    stage.monitor.acknowledge(vec![Key::Message(7)]).await;
    assert_eq!(stage.answer(1).await, None);

    let mut stage = hasty();
    stage.offer(2, &[(8, "a")]);
    assert_eq!(stage.answer(2).await.unwrap(), "monitor not connected yet");
}

#[tokio::test]
async fn what_a_process_was_offered_goes_with_it() {
    let mut stage = stage();
    let mut lines = stage.listen().await;
    stage.offer(1, &[(7, "a")]);
    lines.recv().await.unwrap();
    stage.monitor.over(Generation(1)).await;
    assert!(stage.answer(1).await.unwrap().contains("ended"));
    // The next one has read nothing, whatever the last one still acknowledges.
    stage.monitor.acknowledge(vec![Key::Message(7)]).await;
    stage.offer(2, &[(7, "a")]);
    assert_eq!(lines.recv().await.unwrap(), "7 a\n");
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_on_the_next_connection_and_only_there() {
    let mut stage = hasty();
    let mut first = stage.listen().await;
    stage.offer(1, &[(7, "a"), (9, "b")]);
    first.recv().await.unwrap();
    stage.monitor.acknowledge(vec![Key::Message(9)]).await;
    assert_eq!(stage.answer(1).await.unwrap(), "the monitor has not acknowledged it yet");
    // The core offers them again; on the same connection that is no news.
    let batch = [(7, "a"), (9, "b")];
    stage.offer(2, &batch);
    let mut second = stage.listen().await;
    assert_eq!(first.recv().await.unwrap(), "9 b\n");
    assert_eq!(first.recv().await.unwrap(), REPLACED);
    assert_eq!(first.recv().await, None);
    assert_eq!(second.recv().await.unwrap(), "7 a\n");
    stage.monitor.acknowledge(vec![Key::Message(7)]).await;
    let mut op = 2;
    while stage.answer(op).await.is_some() {
        // A slow machine: it went back in the meantime.
        op += 1;
        stage.offer(op, &batch);
    }
    assert!(second.try_recv().is_err(), "what was read is not said again");
}

#[tokio::test]
async fn an_acknowledgement_that_comes_late_counts_for_the_next_offer_of_the_same_attempt() {
    let mut stage = hasty();
    let mut lines = stage.listen().await;
    stage.offer(1, &[(7, "a")]);
    lines.recv().await.unwrap();
    assert!(stage.answer(1).await.is_some());
    stage.monitor.acknowledge(vec![Key::Message(7)]).await;
    stage.offer(2, &[(7, "a")]);
    assert_eq!(stage.answer(2).await, None);
    // Another attempt is another line.
    stage.offer(3, &[(7, "b")]);
    assert_eq!(lines.recv().await.unwrap(), "7 b\n");
}

#[tokio::test]
async fn words_that_are_no_message_are_acknowledged_by_their_own_number() {
    let mut stage = stage();
    let mut lines = stage.listen().await;
    let reporter = Reporter::new(stage.inputs.clone(), Generation(1), Redactor::default());
    let words = Line { key: Key::Words(7), nonce: String::new(), text: "words\n".to_owned() };
    stage.monitor.offer(OpId(7), Generation(1), vec![words], reporter).unwrap();
    assert_eq!(lines.recv().await.unwrap(), "words\n");
    stage.monitor.acknowledge(vec![Key::Message(7)]).await;
    assert!(stage.answers.try_recv().is_err(), "that is a message");
    stage.monitor.acknowledge(vec![Key::Words(7)]).await;
    assert_eq!(stage.answer(7).await, None);
}

#[tokio::test]
async fn it_is_known_whether_somebody_listens() {
    let stage = stage();
    assert!(!stage.monitor.is_connected());
    let lines = stage.listen().await;
    // Whatever is answered after it was taken up says so.
    stage.monitor.acknowledge(Vec::new()).await;
    assert!(stage.monitor.is_connected());
    drop(lines);
    while stage.monitor.is_connected() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn whoever_does_not_take_over_is_told_that_another_listens() {
    let stage = stage();
    let lines = stage.listen().await;
    assert!(matches!(stage.monitor.connect(false).await, Connected::Taken));
    drop(lines);
    loop {
        // Its end is seen in a moment.
        tokio::task::yield_now().await;
        if matches!(stage.monitor.connect(false).await, Connected::Lines(_)) {
            return;
        }
    }
}
