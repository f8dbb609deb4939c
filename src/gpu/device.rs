//! An opened GPU: its queue, what went wrong on it, and how long to wait for it.

use super::adapter::Adapter;
use super::pipeline::Pipelines;
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long one submission may take before the device counts as hung. A software Vulkan needs minutes for a large batch.
const TIMEOUT: Duration = Duration::from_secs(60);
const SOFTWARE_TIMEOUT: Duration = Duration::from_secs(900);

/// An opened GPU. Copies refer to the same device and share its compiled pipelines.
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    adapter: Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    faults: Arc<Faults>,
    pipelines: Pipelines,
    timeout_ms: AtomicU64,
}

/// What a device reported out of turn.
#[derive(Default)]
struct Faults {
    any: AtomicBool,
    lost: Mutex<Option<String>>,
    uncaught: Mutex<Option<String>>,
}

impl Faults {
    fn set(&self, slot: &Mutex<Option<String>>, message: String) {
        slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
        self.any.store(true, Ordering::Release);
    }
}

impl Gpu {
    /// Opens the adapter of this number in [`adapters`](super::adapters); without a number the first, which is a real GPU
    /// where there is one.
    ///
    /// # Errors
    /// Where there is no such adapter, or it offers less than baseline WebGPU.
    pub fn open(number: Option<usize>) -> Result<Self> {
        Self::open_adapter(Adapter::numbered(number)?)
    }

    /// Opens an adapter.
    ///
    /// # Errors
    /// Where the driver refuses or offers less than baseline WebGPU.
    pub fn open_adapter(adapter: Adapter) -> Result<Self> {
        let offered = adapter.inner.limits();
        // Baseline WebGPU everywhere, so that a kernel that needs more fails on every machine; only sizes of memory are
        // taken as large as they come.
        let required_limits = wgpu::Limits {
            max_buffer_size: offered.max_buffer_size,
            max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
            ..wgpu::Limits::default()
        };
        let useful = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("humdinger"),
            required_features: adapter.inner.features() & useful,
            required_limits,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.inner.request_device(&descriptor)).map_err(|error| {
            Error::Gpu(format!("{adapter} could not be opened: {error}; update its driver or use the CPU"))
        })?;
        let faults = Arc::new(Faults::default());
        let (on_lost, on_error) = (faults.clone(), faults.clone());
        // Dropping the last reference is reported as a loss too; nobody is left to ask then.
        device.set_device_lost_callback(move |_, message| on_lost.set(&on_lost.lost, message));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            on_error.set(&on_error.uncaught, explain(&error));
        }));
        let timeout = if adapter.is_software() { SOFTWARE_TIMEOUT } else { TIMEOUT };
        let timeout_ms = AtomicU64::new(timeout.as_millis() as u64);
        let pipelines = Pipelines::default();
        Ok(Self { inner: Arc::new(Inner { adapter, device, queue, faults, pipelines, timeout_ms }) })
    }

    /// The adapter that was opened.
    pub fn adapter(&self) -> &Adapter {
        &self.inner.adapter
    }

    /// The most bytes that one buffer may hold.
    pub fn largest_buffer(&self) -> u64 {
        let limits = self.inner.device.limits();
        limits.max_buffer_size.min(limits.max_storage_buffer_binding_size)
    }

    /// Changes how long one submission may take before the device counts as hung: a minute at first, a quarter of an hour
    /// for a software device.
    pub fn set_timeout(&self, timeout: Duration) {
        self.inner.timeout_ms.store(timeout.as_millis() as u64, Ordering::Relaxed);
    }

    /// How long one submission may take.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.inner.timeout_ms.load(Ordering::Relaxed))
    }

    /// Gives the device up at once, memory and all. To whoever still uses it, it is a lost device from now on.
    pub fn destroy(&self) {
        self.inner.device.destroy();
    }

    /// How many objects (buffers, bind groups, pipelines, ...) exist on the device's instance, by kind. For tests that
    /// nothing grows.
    pub fn object_counts(&self) -> Vec<(&'static str, usize)> {
        let Some(report) = self.inner.adapter.instance.generate_report() else { return Vec::new() };
        let hub = report.hub;
        vec![
            ("buffers", hub.buffers.num_allocated),
            ("bind groups", hub.bind_groups.num_allocated),
            ("bind group layouts", hub.bind_group_layouts.num_allocated),
            ("pipeline layouts", hub.pipeline_layouts.num_allocated),
            ("compute pipelines", hub.compute_pipelines.num_allocated),
            ("shader modules", hub.shader_modules.num_allocated),
            ("command encoders", hub.command_encoders.num_allocated),
            ("command buffers", hub.command_buffers.num_allocated),
            ("query sets", hub.query_sets.num_allocated),
        ]
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    pub(super) fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    pub(super) fn pipelines(&self) -> &Pipelines {
        &self.inner.pipelines
    }

    /// Runs `work` and turns whatever wgpu reports meanwhile on this thread into an error that begins with `what`.
    pub(super) fn catch<T>(&self, what: impl FnOnce() -> String, work: impl FnOnce() -> T) -> Result<T> {
        let filters = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation];
        let scopes = filters.map(|filter| self.inner.device.push_error_scope(filter));
        let result = work();
        let mut caught = None;
        for scope in scopes.into_iter().rev() {
            caught = pollster::block_on(scope.pop()).or(caught);
        }
        self.check()?;
        match caught {
            None => Ok(result),
            Some(error) => Err(Error::Gpu(format!("{}: {}", what(), explain(&error)))),
        }
    }

    /// Whether the device has reported a failure since the last check. A lost device stays lost.
    pub(super) fn check(&self) -> Result<()> {
        let faults = &self.inner.faults;
        if !faults.any.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some(message) = &*faults.lost.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(Error::Gpu(format!(
                "{} was lost ({message}); run again (training continues from its last checkpoint), or use the CPU",
                self.inner.adapter.name()
            )));
        }
        faults.any.store(false, Ordering::Release);
        match faults.uncaught.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(message) => Err(Error::Gpu(message)),
            None => Ok(()),
        }
    }

    /// Waits until a submission is done.
    ///
    /// # Errors
    /// Where that takes longer than the timeout, or the device fails.
    pub(super) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        let timeout = self.timeout();
        let poll = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(timeout) };
        let waited = self.inner.device.poll(poll);
        self.check()?;
        waited.map(drop).map_err(|error| {
            Error::Gpu(format!(
                "{} did not finish a submission within {:.1} s ({error}); choose a smaller batch size or use the CPU",
                self.inner.adapter.name(),
                timeout.as_secs_f64()
            ))
        })
    }
}

fn explain(error: &wgpu::Error) -> String {
    match error {
        wgpu::Error::OutOfMemory { .. } => {
            "the device has too little memory; choose a smaller batch size, close other programs that use it, or use \
             the CPU"
                .into()
        }
        wgpu::Error::Validation { description, .. } => {
            format!("wgpu refused it: {description} (the CPU goes around this)")
        }
        wgpu::Error::Internal { description, .. } => {
            format!("the driver failed: {description}; update it, or use the CPU")
        }
    }
}
