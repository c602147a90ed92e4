//! Walks the life cycle: fixed paths first, then random ones.

use proptest::prelude::*;

use super::*;

fn handle() -> Handle {
    Handle(serde_json::json!({"pid": 12}))
}

fn running() -> Running {
    Running {
        handle: handle(),
        upstream: Upstream::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 1,
        },
    }
}

fn failure() -> Failure {
    Failure::new(Cause::Internal, "no", "try again")
}

fn walk(events: &[Event]) -> (State, Vec<Command>) {
    let mut state = State::initial();
    let mut last = Vec::new();
    for event in events {
        (state, last) = state.on(event.clone()).unwrap();
    }
    (state, last)
}

#[test]
fn a_start_goes_through_every_stage_to_ready() {
    let (state, _) = walk(&[
        Event::StartRequested,
        Event::Prepared,
        Event::HandleKnown(handle()),
        Event::Launched(running()),
        Event::Published,
    ]);
    assert_eq!(state, State::Ready(running()));
}

#[test]
fn two_clicks_are_one_start() {
    let (state, _) = walk(&[Event::StartRequested]);
    assert_eq!(
        state.on(Event::StartRequested),
        Err(Refusal::AlreadyStarting)
    );
}

#[test]
fn a_stop_during_a_start_cancels_it_and_stops_what_there_is() {
    let (state, commands) = walk(&[
        Event::StartRequested,
        Event::Prepared,
        Event::HandleKnown(handle()),
        Event::StopRequested,
    ]);
    assert_eq!(
        state,
        State::Stopping {
            handle: Some(handle()),
            failure: None
        }
    );
    assert_eq!(commands, vec![Command::Cancel, Command::Stop]);
}

#[test]
fn a_server_that_dies_keeps_its_reason() {
    for (exit, cause) in [
        (Exit::Signal(9), Cause::Died),
        (Exit::StoppedFromOutside, Cause::StoppedFromOutside),
    ] {
        let (state, _) = walk(&[
            Event::StartRequested,
            Event::Prepared,
            Event::Launched(running()),
            Event::Published,
            Event::Exited(exit),
            Event::StopDone,
        ]);
        let failure = state.failure().unwrap();
        assert_eq!(failure.cause, cause);
        assert!(!failure.is_of_start());
        assert!(state.on(Event::StartRequested).is_ok());
    }
}

#[test]
fn a_slow_server_is_kept_after_a_restart() {
    let (state, _) = walk(&[Event::Found(running()), Event::TimedOut]);
    assert!(state.is_ready());
}

#[test]
fn what_a_restart_interrupted_ends_before_anything_starts() {
    let (state, commands) = walk(&[Event::Left {
        handle: Some(handle()),
        failure: Some(failure()),
    }]);
    assert_eq!(commands, vec![Command::Stop]);
    assert_eq!(state.on(Event::StartRequested), Err(Refusal::Stopping));
    let (state, _) = state.on(Event::StopDone).unwrap();
    assert_eq!(state.failure(), Some(&failure()));
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::StartRequested),
        Just(Event::Prepared),
        Just(Event::HandleKnown(handle())),
        Just(Event::Launched(running())),
        Just(Event::Published),
        Just(Event::Failed(failure())),
        Just(Event::StopRequested),
        Just(Event::Exited(Exit::Code(1))),
        Just(Event::StopDone),
        Just(Event::TimedOut),
        Just(Event::Found(running())),
        Just(Event::CheckPassed),
        Just(Event::Left {
            handle: Some(handle()),
            failure: None
        }),
        Just(Event::Left {
            handle: None,
            failure: Some(failure())
        }),
    ]
}

const LIMITS: Limits = Limits {
    start: Duration::from_mins(1),
    http: Duration::from_secs(30),
    stop: Duration::from_mins(1),
};

proptest! {
    #[test]
    fn every_waiting_state_has_a_limit_and_a_way_out_of_it(events in prop::collection::vec(any_event(), 0..40)) {
        let mut state = State::initial();
        for event in events {
            if let Ok((next, _)) = state.on(event) {
                state = next;
            }
            let waits = state.pending().is_some();
            prop_assert_eq!(state.limit(&LIMITS).is_some(), waits);
            if waits {
                prop_assert!(state.on(Event::TimedOut).is_ok(), "{:?}", state);
            }
        }
    }

    #[test]
    fn no_walk_forgets_a_process_that_was_not_stopped(events in prop::collection::vec(any_event(), 0..40)) {
        let mut state = State::initial();
        for event in events {
            let had_process = state.handle().is_some();
            let stop_done = event == Event::StopDone;
            if let Ok((next, commands)) = state.on(event) {
                if had_process && next.handle().is_none() {
                    prop_assert!(stop_done && commands.contains(&Command::Clear));
                }
                state = next;
            }
        }
    }

    #[test]
    fn a_stop_always_leads_to_stopped(events in prop::collection::vec(any_event(), 0..40)) {
        let mut state = State::initial();
        for event in events {
            if let Ok((next, _)) = state.on(event) {
                state = next;
            }
        }
        if let Ok((next, _)) = state.on(Event::StopRequested) {
            state = next;
        }
        if let Ok((next, _)) = state.on(Event::StopDone) {
            state = next;
        }
        prop_assert!(!state.is_active());
        prop_assert!(state.on(Event::StartRequested).is_ok());
    }

    #[test]
    fn a_route_is_removed_whenever_a_server_with_one_goes(events in prop::collection::vec(any_event(), 0..40)) {
        let mut state = State::initial();
        for event in events {
            let routed = matches!(state, State::Ready(_) | State::Checking(_));
            if let Ok((next, commands)) = state.on(event) {
                let still = matches!(next, State::Ready(_) | State::Checking(_));
                if routed && !still {
                    prop_assert!(commands.contains(&Command::RemoveRoute));
                }
                state = next;
            }
        }
    }
}
