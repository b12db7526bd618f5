//! What is measured of what encryption needs: claiming keys, and messages from device to device.

use tokio::time::sleep;

use super::{Run, fewer, known};
use crate::servers::claims;
use crate::servers::devices::Devices;
use crate::servers::meter::Round;
use crate::servers::plan::Family;
use crate::servers::to_device;

impl Run {
    /// Measures it, but of the floor, which knows no keys.
    pub(super) async fn encryption(&mut self) {
        let (name, plan, progress) = (self.name.clone(), self.plan, self.progress);
        let most = plan.devices.iter().copied().max().unwrap_or(0);
        self.each(async |site| {
            if !site.is_floor() {
                progress(&format!("{}: {most} devices", site.target.name));
                let patience = plan.device_patience;
                site.devices = Devices::make(&site.target, &name, most, patience).await?;
            }
            Ok(())
        })
        .await;
        sleep(plan.settle).await;
        for &devices in plan.devices {
            if self.wants(Family::Claims) {
                self.claim(devices).await;
            }
        }
        for &devices in plan.devices {
            if self.wants(Family::ToDevice) {
                self.tell_devices(devices).await;
            }
        }
    }

    async fn claim(&mut self, batch: usize) {
        let time = self.plan.claims;
        let claimers = claims::CLAIMERS;
        let scenario = format!("claim keys of {batch} devices, {claimers} at once");
        let all = self.rounds(&scenario, async |site, _| {
            claims::round(&site.target, &mut site.devices, batch, time).await
        });
        let all = known(all.await);
        self.add_of_devices(&scenario, all, batch);
    }

    async fn tell_devices(&mut self, devices: usize) {
        let (name, time) = (self.name.clone(), self.plan.fan_out);
        let scenario = format!("to-device, 1 sender to {devices} devices");
        let all = self.rounds(&scenario, async |site, round| {
            let run = format!("{name}.t{devices}.{round}");
            to_device::round(&site.target, &run, &mut site.devices, devices, time).await
        });
        let all = known(all.await);
        self.add_of_devices(&scenario, all, devices);
    }

    fn add_of_devices(&mut self, scenario: &str, all: Vec<Vec<Round>>, devices: usize) {
        for (site, rounds) in self.sites.iter_mut().zip(all) {
            if !site.is_floor() {
                let made = site.devices.all.len();
                let note = match std::mem::take(&mut site.devices.missing) {
                    0 => fewer(made, devices, "devices"),
                    missing => format!("{missing} keys that it had were not given"),
                };
                self.report.row(scenario, site, rounds, note);
            }
        }
    }
}
