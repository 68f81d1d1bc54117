//! Sums, copies and messages between threads that are ranks, and what ends them.

use std::thread;

use tch::Kind;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(20);

fn local() -> IpAddr {
    IpAddr::from([127, 0, 0, 1])
}

/// Runs `work` as every rank of a group of threads.
fn together<T: Send + 'static>(world: usize, work: fn(Group) -> T) -> Vec<T> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let store = Store::serve(listener, TIMEOUT).expect("a store");
    let ranks: Vec<_> = (0..world)
        .map(|rank| {
            thread::spawn(move || {
                let store = Store::connect(address, TIMEOUT).expect("the store answers");
                work(Group::join(&store, "group", local(), (rank, world), (TIMEOUT, TIMEOUT)).expect("all come"))
            })
        })
        .collect();
    let all = ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect();
    drop(store);
    all
}

#[test]
fn a_store_is_shared() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let store = Store::serve(listener, TIMEOUT).expect("a store");
    let other = Store::connect(address, TIMEOUT).expect("it answers");
    assert_eq!(other.get("key"), Ok(None));
    store.set("key", b"\0value").expect("it is there");
    assert_eq!(other.get("key"), Ok(Some(b"\0value".to_vec())));
    for n in 0..2000_u32 {
        store.set("counted", &n.to_le_bytes()).expect("it is there");
        assert_eq!(other.get("counted"), Ok(Some(n.to_le_bytes().to_vec())));
    }
    assert_eq!((store.add("n", 2), other.add("n", 3)), (Ok(2), Ok(5)));
    other.delete("key").expect("it is there");
    assert_eq!(store.get("key"), Ok(None));
    assert_eq!(other.wait("key", Duration::from_millis(50)), Ok(false));
    store.set("key", b"").expect("it is there");
    assert_eq!(other.wait("key", Duration::from_millis(50)), Ok(true));
    drop(store);
    assert!(other.get("key").is_err(), "whoever served it is gone");
}

/// c10d's own record of collectives was one for all groups of a process, without a lock.
#[test]
fn groups_of_one_process_begin_at_the_same_time() {
    for _ in 0..8 {
        let ranks = together(8, |group| {
            let tensor = Tensor::from_slice(&[group.rank() as f32]);
            group.copy(&tensor, 0).expect("all are there");
            group.sum(&tensor).expect("all are there");
            tensor.double_value(&[0])
        });
        assert_eq!(ranks, [0.0; 8]);
    }
}

#[test]
fn sums_have_the_same_bits_on_every_rank() {
    for world in [1, 2, 3] {
        let sums = together(world, |group| {
            let values: Vec<f32> = (0..10_001)
                .map(|n| ((n * 7 + group.rank() * 13) % 101) as f32 / 7.0)
                .collect();
            let tensor = Tensor::from_slice(&values);
            group.sum(&tensor).expect("all are there");
            let narrow = Tensor::from_slice(&[group.rank() as f32]).to_kind(Kind::BFloat16);
            group.largest(&narrow).expect("all are there");
            let copied = Tensor::from_slice(&[group.rank() as i64, 7]);
            group.copy(&copied, group.world() - 1).expect("all are there");
            let copied = Vec::<i64>::try_from(copied).expect("numbers");
            (
                Vec::<f32>::try_from(tensor).expect("numbers"),
                narrow.double_value(&[0]),
                copied,
            )
        });
        for (sum, largest, copied) in &sums {
            assert_eq!(sum, &sums[0].0);
            assert_eq!(*largest as usize, world - 1);
            assert_eq!(copied, &[world as i64 - 1, 7]);
        }
        let expected: f32 = (0..world).map(|rank| ((7 + rank * 13) % 101) as f32 / 7.0).sum();
        assert!((sums[0].0[1] - expected).abs() < 1e-5);
    }
}

/// A group waits for a late call as long as it was told, which may be longer than it waited for its members.
#[test]
fn the_time_for_joining_is_not_that_of_a_call() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let store = Store::serve(listener, TIMEOUT).expect("a store");
    let call = |rank: usize, timeouts, pause: u64, name: String, is_message: bool| {
        thread::spawn(move || {
            let store = Store::connect(address, TIMEOUT).expect("the store answers");
            let group = Group::join(&store, &name, local(), (rank, 2), timeouts).expect("both come");
            thread::sleep(Duration::from_millis(pause));
            let tensor = Tensor::from_slice(&[1.0_f32]);
            match (is_message, rank) {
                (false, _) => group.sum(&tensor),
                (true, 0) => group.receive(&tensor, 1),
                (true, _) => group.send(&tensor, 0),
            }
        })
    };
    // Long enough for two to meet on a machine that does much else.
    let (short, long) = (Duration::from_secs(3), TIMEOUT);
    let mut calls = Vec::new();
    for (timeouts, is_waited_for) in [((short, long), true), ((long, short), false)] {
        for is_message in [false, true] {
            let name = format!("{is_waited_for}-{is_message}");
            let first = call(0, timeouts, 0, name.clone(), is_message);
            let late = call(1, timeouts, 6000, name.clone(), is_message);
            calls.push((name, is_waited_for, first, late));
        }
    }
    for (name, is_waited_for, first, late) in calls {
        assert_eq!(first.join().expect("no panic").is_ok(), is_waited_for, "{name}");
        drop(late.join());
    }
    drop(store);
}

#[test]
fn what_is_sent_is_received_and_summed_where_it_is_wanted() {
    let found = together(3, |group| {
        let own = |length: usize| Tensor::from_slice(&vec![group.rank() as f32 + 0.1; length]);
        let mut received = Vec::new();
        for round in 1..200 {
            if group.rank() > 0 {
                group.send(&own(round * group.rank()), 0).expect("rank 0 takes it");
                continue;
            }
            for from in 1..group.world() {
                let tensor = Tensor::zeros([(round * from) as i64], (Kind::Float, tch::Device::Cpu));
                group.receive(&tensor, from).expect("it is sent");
                received.push(tensor.equal(&Tensor::from_slice(&vec![from as f32 + 0.1; round * from])));
            }
        }
        let sums: Vec<f64> = (0..group.world())
            .map(|to| {
                let tensor = own(7);
                group.sum_at(&tensor, to).expect("all are there");
                tensor.double_value(&[6])
            })
            .collect();
        (received, sums[group.rank()])
    });
    assert_eq!(found[0].0, [true; 398]);
    assert!(found.iter().all(|(_, sum)| (sum - 3.3).abs() < 1e-6), "{found:?}");
}

#[test]
fn who_leaves_ends_the_group_for_the_others() {
    let received = together(2, |group| {
        let tensor = Tensor::from_slice(&[1.0_f32]);
        group.sum(&tensor).expect("both are there");
        if group.rank() == 1 {
            Ok(())
        } else {
            group.receive(&tensor, 1)
        }
    });
    assert!(received[0].is_err(), "{received:?}");
    let outcomes = together(2, |group| {
        let tensor = Tensor::from_slice(&[1.0_f32]);
        let first = group.sum(&tensor);
        if group.rank() == 1 {
            return first;
        }
        first.and_then(|()| group.sum(&tensor))
    });
    assert!(outcomes[1].is_ok() && outcomes[0].is_err(), "{outcomes:?}");
}
