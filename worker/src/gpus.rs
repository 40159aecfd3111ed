//! The GPUs of this machine, as NVIDIA's management library lists them.
//!
//! The library comes with the driver and is looked for at run time. Its absence, or any trouble with it, means "no GPU":
//! a worker never fails to start for want of one.

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::hardware::Gpu;

/// What lists GPUs: the driver's library, or a test's.
pub trait GpuLibrary {
    /// How many there are.
    ///
    /// # Errors
    /// In the library's words.
    fn count(&self) -> Result<u32, String>;

    /// The GPU at this place, in the order of the PCI bus.
    ///
    /// # Errors
    /// In the library's words, for one that has fallen off the bus.
    fn gpu(&self, index: u32) -> Result<Gpu, String>;
}

impl GpuLibrary for Nvml {
    fn count(&self) -> Result<u32, String> {
        self.device_count().map_err(|error| error.to_string())
    }

    fn gpu(&self, index: u32) -> Result<Gpu, String> {
        let told = || -> Result<Gpu, NvmlError> {
            let device = self.device_by_index(index)?;
            Ok(Gpu { index, uuid: device.uuid()?, model: device.name()?, memory_bytes: device.memory_info()?.total })
        };
        told().map_err(|error| error.to_string())
    }
}

/// The GPUs that this process may use; none where there is no driver.
pub(crate) fn detect() -> Vec<Gpu> {
    match Nvml::init() {
        Ok(nvml) => listed(&nvml, std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref()),
        Err(error) => {
            tracing::debug!("no GPUs: {error}");
            Vec::new()
        }
    }
}

/// The GPUs that a library lists and `visible` leaves. A GPU that does not answer is left out.
pub fn listed(library: &dyn GpuLibrary, visible: Option<&str>) -> Vec<Gpu> {
    let count = library.count().unwrap_or_else(|error| {
        tracing::warn!("the GPUs cannot be listed: {error}");
        0
    });
    let asked = (0..count).filter_map(|index| match library.gpu(index) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            tracing::warn!(index, "a GPU does not answer and is left out: {error}");
            None
        }
    });
    let Some(visible) = visible else { return asked.collect() };
    let gpus: Vec<Gpu> = asked.collect();
    // As CUDA reads it: up to the first name that is of no GPU.
    let find = |name: &str| {
        let by_index = name.parse::<u32>().ok();
        gpus.iter().find(|gpu| by_index == Some(gpu.index) || (by_index.is_none() && gpu.uuid.starts_with(name)))
    };
    let names = visible.split(',').map(str::trim).take_while(|name| !name.is_empty());
    names.map_while(find).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(Vec<Result<u64, &'static str>>);

    impl GpuLibrary for Fake {
        fn count(&self) -> Result<u32, String> {
            if self.0.is_empty() { Err("driver and library differ".into()) } else { Ok(self.0.len() as u32) }
        }

        fn gpu(&self, index: u32) -> Result<Gpu, String> {
            let gib = self.0[index as usize].map_err(str::to_owned)?;
            let uuid = format!("GPU-{index}{index}-x");
            Ok(Gpu { index, uuid, model: format!("Card {gib}"), memory_bytes: gib << 30 })
        }
    }

    fn indices(fake: &Fake, visible: Option<&str>) -> Vec<u32> {
        listed(fake, visible).into_iter().map(|gpu| gpu.index).collect()
    }

    #[test]
    fn a_gpu_that_does_not_answer_is_left_out_and_no_library_means_no_gpu() {
        let fake = Fake(vec![Ok(16), Err("fallen off the bus"), Ok(80)]);
        assert_eq!(indices(&fake, None), [0, 2]);
        assert_eq!(indices(&Fake(Vec::new()), None), [0; 0]);
    }

    #[test]
    fn what_is_visible_to_the_worker_is_all_that_it_offers() {
        let fake = Fake(vec![Ok(16), Ok(24), Ok(80)]);
        assert_eq!(indices(&fake, Some("2,0")), [2, 0]);
        assert_eq!(indices(&fake, Some("GPU-11,9,0")), [1]);
        assert_eq!(indices(&fake, Some("")), [0; 0]);
        assert_eq!(indices(&fake, Some("-1")), [0; 0]);
    }
}
