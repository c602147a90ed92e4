//! What parts that the hub does not know measure of themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lyceum_core::seams::{Gauge, Reporter};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Asks them whenever somebody reads the metrics.
#[derive(Debug)]
pub(super) struct Reported(pub(super) Vec<Arc<dyn Reporter>>);

impl Collector for Reported {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Values of one name have to stand together.
        let mut by_name: BTreeMap<&'static str, Vec<Gauge>> = BTreeMap::new();
        for gauge in self.0.iter().flat_map(|reporter| reporter.gauges()) {
            by_name.entry(gauge.name).or_default().push(gauge);
        }
        for (name, gauges) in by_name {
            let help = gauges.first().map_or("", |gauge| gauge.help);
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for gauge in &gauges {
                let (label, text) = &gauge.label;
                let labels = [(*label, text.as_str())];
                ConstGauge::new(gauge.value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::text;

    #[derive(Debug)]
    struct Two;

    impl Reporter for Two {
        fn notices(&self) -> Vec<lyceum_core::seams::Notice> {
            Vec::new()
        }

        fn gauges(&self) -> Vec<Gauge> {
            [("a", 1.0), ("b\"", 2.5)]
                .map(|(label, value)| Gauge {
                    name: "lyceum_things",
                    help: "How many there are",
                    label: ("thing", label.to_owned()),
                    value,
                })
                .to_vec()
        }
    }

    #[test]
    fn what_others_measure_is_told_with_its_label() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Reported(vec![Arc::new(Two)])));
        assert_eq!(
            text::of(&registry),
            "# HELP lyceum_things How many there are\n# TYPE lyceum_things gauge\n\
             lyceum_things{thing=\"a\"} 1.0\nlyceum_things{thing=\"b\\\"\"} 2.5\n"
        );
    }
}
