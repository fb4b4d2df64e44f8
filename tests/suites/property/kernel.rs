//! Random clusters in the kernel: what the agent's writer makes of a plan is what nft makes of the plan's text, at the
//! start and after every event that came since.

use enforcer::kernel::{Kernel, Repair};
use lab::Namespace;
use podwall_tests::random::{self, Cases, Event, Size};
use podwall_tests::{differing_lines, json_ruleset, namespace, nft};
use policy_compiler::plan::{Denial, DropLog, Generation, LivePlan, MarkMask, Settings, UnknownPods};
use policy_compiler::render;
use policy_compiler::ruleset::InterfaceName;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::{CASES, STEPS};

/// Every node of random clusters: their tables lie beside each other in one kernel.
const NODES: [&str; 3] = ["n1", "n2", "n3"];

#[test]
fn what_the_agent_writes_is_what_nft_loads_from_the_text() {
    random::run(
        Cases::share(500, CASES),
        || (random::history(&Size::JUDGED, STEPS), settings()),
        |(history, settings)| {
            let kernel = namespace("agent");
            let text = namespace("text");
            let start: Vec<_> = history.start.objects.iter().cloned().map(Event::Apply).collect();
            let mut writers: Vec<_> = NODES.map(|node| Writer::new(node, &settings, &start, &kernel)).into();
            is_as_nft_loads_it(&writers, &kernel, &text)?;
            for step in &history.steps {
                writers.iter_mut().for_each(|writer| writer.follow(step));
            }
            is_as_nft_loads_it(&writers, &kernel, &text)?;
            for writer in &mut writers {
                let observed = writer.kernel.read().expect("the kernel can be read").expect("there is a table");
                let repair = observed.delta_to(writer.live.table());
                prop_assert!(repair.is_empty(), "read back, {} needs {:?}", writer.kernel.table(), repair);
            }
            Ok(())
        },
    );
}

/// What an operator may choose, now and then.
fn settings() -> impl Strategy<Value = Settings> {
    let mask = prop::sample::select(vec![0xfff0_0000, 0x3, 0xffff_ffff, 0x0000_ff00]);
    let interfaces = prop::sample::subsequence(vec!["cni0", "veth*", "a-name-of-fift"], 1..=3);
    let log = (any::<u16>(), 1..1000_u32, 1..1000_u32, 0..200_u32)
        .prop_map(|(group, per_second, burst, snaplen)| DropLog { group, per_second, burst, snaplen });
    let chosen = (mask, interfaces, any::<bool>(), any::<bool>(), prop::option::of(log)).prop_map(
        |(mask, interfaces, unknown, reject, drop_log)| Settings {
            mark_mask: MarkMask::new(mask).expect("a mask"),
            pod_interfaces: interfaces.iter().map(|name| name.parse::<InterfaceName>().expect("a name")).collect(),
            unknown_pods: if unknown { UnknownPods::Drop } else { UnknownPods::Accept },
            denial: if reject { Denial::Reject } else { Denial::Drop },
            drop_log,
            ..Settings::default()
        },
    );
    prop_oneof![1 => Just(Settings::default()), 1 => chosen]
}

/// One node's plan, and its table in the kernel.
struct Writer {
    live: LivePlan,
    mask: MarkMask,
    kernel: Kernel,
}

impl Writer {
    fn new(node: &str, settings: &Settings, start: &[Event], namespace: &Namespace) -> Self {
        let settings = Settings { table: format!("podwall_{node}").into(), ..settings.clone() };
        let (table, mask) = (settings.table.clone(), settings.mark_mask);
        let kernel = namespace.run(|| Kernel::open(table)).expect("the namespace can be entered");
        let live = LivePlan::new(node, settings, Generation::FIRST);
        let mut writer = Self { live, mask, kernel: kernel.expect("there can be a socket") };
        writer.apply(start);
        _ = writer.live.delta();
        writer.kernel.repair(&Repair::create(writer.live.table())).expect("the kernel takes every plan");
        writer
    }

    fn follow(&mut self, events: &[Event]) {
        self.apply(events);
        if self.live.tightens() {
            self.live.set_generation(self.live.generation().next(self.mask));
        }
        let delta = self.live.delta();
        self.kernel.commit(&delta).expect("the kernel takes every change");
    }

    fn apply(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Apply(object) => self.live.apply(object.clone()),
                Event::Remove(id) => self.live.remove(id),
            }
        }
    }
}

fn is_as_nft_loads_it(writers: &[Writer], kernel: &Namespace, text: &Namespace) -> Result<(), TestCaseError> {
    let tables: String = writers.iter().map(|writer| render::text::table(writer.live.table())).collect();
    nft(text, &["-f", "-"], &format!("flush ruleset\n{tables}"));
    let [ours, theirs] = [kernel, text].map(json_ruleset);
    prop_assert!(theirs.len() > 20, "{}", theirs);
    prop_assert!(ours == theirs, "{}", differing_lines(&ours, &theirs));
    Ok(())
}
