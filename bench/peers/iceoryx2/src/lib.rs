//! iceoryx2's publish-subscribe with a C interface, for bench/peers/iceoryx2.cpp. Each call stands for one call of
//! iceoryx2. Null or a negative number is a failure, whose reason is printed. A handle belongs to one thread; processes
//! open theirs after the fork.
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::sample::Sample;
use std::error::Error;
use std::ffi::{c_char, CStr};

type Service = ipc::Service;
type Factory = iceoryx2::service::port_factory::publish_subscribe::PortFactory<Service, [u8], ()>;

/// Which channel, and how much it may hold. The same in all processes.
#[repr(C)]
pub struct Settings {
    root: *const c_char,   // folder for what is not shared memory
    prefix: *const c_char, // of all names, so that no other run is met
    name: *const c_char,
    record_bytes: usize,
    buffer: usize, // records that wait for a reader
    writers: usize,
    readers: usize,
}

pub struct Writer {
    publisher: Publisher<Service, [u8], ()>,
    _service: Factory,
    _node: Node<Service>,
}

pub struct Reader {
    held: Option<Sample<Service, [u8], ()>>,
    subscriber: Subscriber<Service, [u8], ()>,
    _service: Factory,
    _node: Node<Service>,
}

fn text<'a>(at: *const c_char) -> Result<&'a str, Box<dyn Error>> {
    Ok(unsafe { CStr::from_ptr(at) }.to_str()?)
}

fn open(settings: &Settings) -> Result<(Node<Service>, Factory), Box<dyn Error>> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config
        .global
        .set_root_path(&Path::new(text(settings.root)?.as_bytes())?);
    config.global.prefix = FileName::new(text(settings.prefix)?.as_bytes())?;
    let node = NodeBuilder::new()
        .config(&config)
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<Service>()?;
    let service = node
        .service_builder(&text(settings.name)?.try_into()?)
        .publish_subscribe::<[u8]>()
        .payload_alignment(Alignment::new(8).ok_or("alignment")?)
        .enable_safe_overflow(false)
        .history_size(0)
        .subscriber_max_buffer_size(settings.buffer)
        .max_publishers(settings.writers)
        .max_subscribers(settings.readers)
        .open_or_create()?;
    Ok((node, service))
}

fn handle<T>(made: Result<T, Box<dyn Error>>) -> *mut T {
    match made {
        Ok(value) => Box::into_raw(Box::new(value)),
        Err(error) => {
            eprintln!("iceoryx2: {error}");
            std::ptr::null_mut()
        }
    }
}

#[no_mangle]
pub unsafe extern "C" fn bench_open_writer(settings: *const Settings) -> *mut Writer {
    let make = || {
        let settings = unsafe { &*settings };
        let (node, service) = open(settings)?;
        let publisher = service
            .publisher_builder()
            .initial_max_slice_len(settings.record_bytes)
            .max_loaned_samples(1)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        Ok(Writer {
            publisher,
            _service: service,
            _node: node,
        })
    };
    handle(make())
}

#[no_mangle]
pub unsafe extern "C" fn bench_open_reader(settings: *const Settings) -> *mut Reader {
    let make = || {
        let settings = unsafe { &*settings };
        let (node, service) = open(settings)?;
        let subscriber = service.subscriber_builder().buffer_size(settings.buffer).create()?;
        Ok(Reader {
            held: None,
            subscriber,
            _service: service,
            _node: node,
        })
    };
    handle(make())
}

/// Loans `size` bytes, writes the first `filled` of them, sends. Returns how many readers got it; it waits while one of
/// them has no room.
#[no_mangle]
pub unsafe extern "C" fn bench_send(writer: *mut Writer, from: *const u8, filled: usize, size: usize) -> i64 {
    let writer = unsafe { &*writer };
    let mut sample = match writer.publisher.loan_slice_uninit(size) {
        Ok(sample) => sample,
        Err(error) => {
            eprintln!("iceoryx2: loan: {error}");
            return -1;
        }
    };
    let sent = unsafe {
        std::ptr::copy_nonoverlapping(from, sample.payload_mut().as_mut_ptr().cast::<u8>(), filled);
        sample.assume_init().send()
    };
    match sent {
        Ok(readers) => readers as i64,
        Err(error) => {
            eprintln!("iceoryx2: send: {error}");
            -1
        }
    }
}

/// Takes the next record, if there is one: 1 and where it is, until the next call; 0 if there is none.
#[no_mangle]
pub unsafe extern "C" fn bench_receive(reader: *mut Reader, at: *mut *const u8, size: *mut usize) -> i32 {
    let reader = unsafe { &mut *reader };
    reader.held = None;
    match reader.subscriber.receive() {
        Ok(None) => 0,
        Ok(Some(sample)) => {
            unsafe {
                *at = sample.payload().as_ptr();
                *size = sample.payload().len();
            }
            reader.held = Some(sample);
            1
        }
        Err(error) => {
            eprintln!("iceoryx2: receive: {error}");
            -1
        }
    }
}

#[no_mangle]
pub unsafe extern "C" fn bench_close_writer(writer: *mut Writer) {
    drop(unsafe { Box::from_raw(writer) });
}

#[no_mangle]
pub unsafe extern "C" fn bench_close_reader(reader: *mut Reader) {
    drop(unsafe { Box::from_raw(reader) });
}
