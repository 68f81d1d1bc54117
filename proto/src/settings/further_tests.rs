//! What else cannot work is named beside the setting that a job is refused for.

use super::job::Job;
use super::tests::TRAIN;
use super::*;

#[test]
fn every_setting_that_cannot_work_is_found_at_once() {
    // A job file would be refused for the first of them; over the wire comes anything.
    let mut spec = parse_job_file(TRAIN).expect("a job file");
    spec.model = None;
    spec.rollout.get_or_insert_default().budgets = vec![4, 2];
    let training = spec.training.get_or_insert_default();
    (training.steps, training.batch, training.clip) = (Some(0), Some(0), Some(7.0));
    let refused = JobSettings::try_new(&spec).expect_err("refused");
    assert_eq!(refused.field, "model.path");
    let further = further_refused(&spec, &refused);
    let fields: Vec<&str> = further.iter().map(|error| error.field.as_str()).collect();
    // What follows from them, such as `training.queue_groups`, is not named.
    assert_eq!(
        fields,
        ["rollout.budgets", "training.steps", "training.batch", "training.clip"]
    );
    let works = parse_job_file(TRAIN).expect("a job file");
    assert_eq!(
        further_refused(&works, &InvalidSetting::because("model.path", "it is gone")),
        []
    );
}

/// The checks behind a refused setting see values that no check has let through.
#[test]
fn no_check_relies_on_the_one_before_it() {
    use prost_reflect::{Kind, Value};

    let odd = |field: &prost_reflect::FieldDescriptor, draw: usize| -> Option<Value> {
        let (whole, number) = (
            [0, 1, 7, u64::MAX][draw % 4],
            [0.0, -1.0, f64::NAN, f64::INFINITY][draw % 4],
        );
        let text = ["", "a", "\u{1F914}", "linear"][draw % 4].to_owned();
        let one = match field.kind() {
            Kind::Bool => Value::Bool(draw.is_multiple_of(2)),
            Kind::Uint32 => Value::U32(whole.min(u64::from(u32::MAX)) as u32),
            Kind::Uint64 => Value::U64(whole),
            Kind::Int32 => Value::I32(whole as i32),
            Kind::Double => Value::F64(number),
            Kind::String => Value::String(text),
            Kind::Enum(_) => Value::EnumNumber([0, 1, 2, 99][draw % 4]),
            _ => return None,
        };
        Some(if field.is_list() {
            Value::List(vec![one; draw % 3])
        } else {
            one
        })
    };
    let mut state = 7_u64;
    let mut draw = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused_count = 0;
    for _ in 0..300 {
        let mut job = Job::new(&parse_job_file(TRAIN).expect("a job file"));
        for _ in 0..=draw(12) {
            let row = &TABLE[draw(TABLE.len())];
            if let Some(value) = Job::field(row.path).and_then(|field| odd(&field, draw(12))) {
                job.set(row.path, value);
            }
        }
        let spec = job.into_spec();
        let Err(refused) = JobSettings::try_new(&spec) else {
            continue;
        };
        refused_count += 1;
        let further = further_refused(&spec, &refused);
        assert!(
            further.iter().all(|error| error.field != refused.field),
            "{refused}: {further:?}"
        );
    }
    assert!(refused_count > 150, "{refused_count}");
}
