//! Keeps the stretches of one leg in order while their audio is being prepared.
//! Pure.

use std::collections::VecDeque;

use tipring_model::PlayId;

/// Stretches that the engine has not been given yet, in order.
#[derive(Debug)]
pub(crate) struct PlayQueue<S, F> {
    waiting: VecDeque<(PlayId, State<S, F>)>,
}

#[derive(Debug)]
enum State<S, F> {
    Preparing,
    Ready(S),
    Failed(F),
}

/// What the front of the queue has come to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next<S, F> {
    /// Give this to the engine.
    Play(PlayId, S),
    /// Report this as failed.
    Failed(PlayId, F),
}

impl<S, F> Default for PlayQueue<S, F> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<S, F> PlayQueue<S, F> {
    /// A stretch whose audio is being prepared.
    pub(crate) fn push(&mut self, play: PlayId) {
        self.waiting.push_back((play, State::Preparing));
    }

    /// The audio of a stretch is there, or cannot be had. One that was removed
    /// meanwhile is passed over.
    pub(crate) fn prepared(&mut self, play: PlayId, result: Result<S, F>) {
        if let Some((_, state)) = self.waiting.iter_mut().find(|(known, _)| *known == play) {
            *state = match result {
                Ok(source) => State::Ready(source),
                Err(failure) => State::Failed(failure),
            };
        }
    }

    /// Takes a stretch out; false if the engine has it already.
    pub(crate) fn remove(&mut self, play: PlayId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(known, _)| *known != play);
        self.waiting.len() != before
    }

    /// The front of the queue, once it is settled.
    pub(crate) fn next(&mut self) -> Option<Next<S, F>> {
        match self.waiting.pop_front()? {
            (play, State::Ready(source)) => Some(Next::Play(play, source)),
            (play, State::Failed(failure)) => Some(Next::Failed(play, failure)),
            (play, State::Preparing) => {
                self.waiting.push_front((play, State::Preparing));
                None
            }
        }
    }

    /// Everything that is left, for a leg that is gone.
    pub(crate) fn drain(&mut self) -> Vec<PlayId> {
        self.waiting.drain(..).map(|(play, _)| play).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_whatever_is_ready_first() {
        let mut queue: PlayQueue<char, char> = PlayQueue::default();
        for play in 1..=4 {
            queue.push(PlayId(play));
        }
        queue.prepared(PlayId(2), Ok('b'));
        queue.prepared(PlayId(4), Ok('d'));
        assert_eq!(queue.next(), None);
        queue.prepared(PlayId(1), Err('a'));
        assert_eq!(queue.next(), Some(Next::Failed(PlayId(1), 'a')));
        assert_eq!(queue.next(), Some(Next::Play(PlayId(2), 'b')));
        assert_eq!(queue.next(), None);
        assert!(queue.remove(PlayId(3)) && !queue.remove(PlayId(2)));
        queue.prepared(PlayId(3), Ok('c'));
        assert_eq!(queue.next(), Some(Next::Play(PlayId(4), 'd')));
        assert_eq!(queue.next(), None);
    }
}
