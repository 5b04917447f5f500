/* A stand-in for libnvidia-ml.so.1 on machines with no NVIDIA GPU.
 *
 * The real pynvml loads it by its soname.  What it reports stands in the file that
 * FAKE_NVML_CONFIG names, read again whenever that file changes, so that a test can
 * take a GPU away from a program that watches it.  Replace the file by a rename: a
 * half-written file is half read.  tests/rig/nvml.py writes it:
 *
 *     driver_version = 580.95.05    init_error = 999    cuda_version = 13000
 *     [gpu]                         one section per GPU, in NVML's order
 *     uuid, name, pci, serial       text
 *     minor, total_mib, used_mib, util_gpu, util_mem, temperature, power_mw,
 *     power_limit_mw, compute_mode, mig_mode           numbers
 *     cc = 9.0                      compute capability
 *     process = PID MIB [GI CI]     a compute process; MIB `-`: not available
 *     graphics = PID MIB            a graphics process
 *     mig = UUID GI CI TOTAL_MIB USED_MIB CAP NAME     a slice; CAP: see below
 *     error = 15                    each call on this GPU fails so (15: GPU is lost)
 *     fail = nvmlDeviceGet... 3     this call on it fails so (3: not supported)
 *     xid = SERIAL CODE             an Xid; sent once per SERIAL above the last
 *     ecc = N                       uncorrected memory errors since the driver's start
 *
 * With FAKE_NVML_NEED_DEVICE_NODE set, in containers, a GPU is there only where
 * /dev/nvidia<minor> is, a slice only where /dev/nvidia-caps/nvidia-cap<CAP> is.
 * A handle names a UUID: it outlives a re-read, and is lost with its GPU.
 *
 * Where FAKE_NVML_CONFIG is not set and IN_CONTAINER is there (tests/rig/hooks puts it
 * there), that file is meant, and device nodes are needed.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define API EXPORT int
#define IN_CONTAINER "/run/fake-nvml/nvml.ini"
#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define MIB (1024ULL * 1024ULL)
#define NOT_AVAILABLE (~0ULL)
#define NO_INSTANCE (~0u)
#define XID_EVENT 8ULL
#define VERSIONED(type, version) ((unsigned)sizeof(type) | (unsigned)(version) << 24)

enum {
    OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15,
    NO_MEMORY = 20, VERSION_MISMATCH = 25
};

/* ---- NVML's structures ---------------------------------------------------- */
struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
struct utilization { unsigned gpu, memory; };
struct temperature { unsigned version, sensor; int celsius; };
struct process { unsigned pid; unsigned long long used; unsigned gi, ci; };
struct pci {
    char bus_id_legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
};
struct attributes {
    unsigned multiprocessors, copy, decoders, encoders, jpeg, ofa, gi_slices, ci_slices;
    unsigned long long memory_mib;
};

/* ---- what the file says ---------------------------------------------------- */
struct processes { struct process list[64]; unsigned count; };
struct slice { char uuid[96], name[96]; unsigned gi, ci, cap; unsigned long long total, used; };
struct gpu {
    char uuid[96], name[96], pci[32], serial[32];
    unsigned minor, total_mib, used_mib, util_gpu, util_mem, temperature, power_mw,
        power_limit_mw, compute_mode, mig_mode, error, ecc, cc_major, cc_minor;
    struct processes compute, graphics;
    struct slice slices[8];
    struct { char function[64]; int code; } fails[8];
    unsigned nslices, nfails;
    unsigned long long xid_serial, xid;
};
static struct {
    char driver[80];
    int cuda, init_error;
    struct gpu gpus[32];
    unsigned ngpus;
} machine;

struct handle { char uuid[96]; };
struct event { struct handle *device; unsigned long long type, data; unsigned gi, ci; };
struct event_set { struct { char uuid[96]; unsigned long long seen; } watched[32]; unsigned count; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle handles[1024];
static unsigned nhandles, users;
static struct stat read_from;

static const struct { const char *key; size_t offset, room; } texts[] = {
#define TEXT(field) {#field, offsetof(struct gpu, field), sizeof((struct gpu *)0)->field}
    TEXT(uuid), TEXT(name), TEXT(pci), TEXT(serial),
};
static const struct { const char *key; size_t offset; } numbers[] = {
#define NUMBER(field) {#field, offsetof(struct gpu, field)}
    NUMBER(minor), NUMBER(total_mib), NUMBER(used_mib), NUMBER(util_gpu), NUMBER(util_mem),
    NUMBER(temperature), NUMBER(power_mw), NUMBER(power_limit_mw), NUMBER(compute_mode),
    NUMBER(mig_mode), NUMBER(error), NUMBER(ecc),
};

static void add_process(struct processes *to, const char *text)
{
    char used[24] = "-";
    struct process process = {0, NOT_AVAILABLE, NO_INSTANCE, NO_INSTANCE};
    sscanf(text, "%u %23s %u %u", &process.pid, used, &process.gi, &process.ci);
    if (strcmp(used, "-")) process.used = strtoull(used, NULL, 10) * MIB;
    if (to->count < LENGTH(to->list)) to->list[to->count++] = process;
}

static void add_slice(struct gpu *gpu, const char *text)
{
    if (gpu->nslices == LENGTH(gpu->slices)) return;
    struct slice *slice = &gpu->slices[gpu->nslices++];
    sscanf(text, "%95s %u %u %llu %llu %u %95[^\n]", slice->uuid, &slice->gi, &slice->ci,
           &slice->total, &slice->used, &slice->cap, slice->name);
    slice->total *= MIB;
    slice->used *= MIB;
}

static int set_gpu(struct gpu *gpu, const char *key, const char *value)
{
    for (unsigned i = 0; i < LENGTH(texts); i++)
        if (!strcmp(key, texts[i].key))
            return snprintf((char *)gpu + texts[i].offset, texts[i].room, "%s", value) >= 0;
    for (unsigned i = 0; i < LENGTH(numbers); i++)
        if (!strcmp(key, numbers[i].key))
            return sscanf(value, "%u", (unsigned *)((char *)gpu + numbers[i].offset));
    if (!strcmp(key, "cc")) return sscanf(value, "%u.%u", &gpu->cc_major, &gpu->cc_minor);
    if (!strcmp(key, "xid")) return sscanf(value, "%llu %llu", &gpu->xid_serial, &gpu->xid);
    if (!strcmp(key, "process")) return add_process(&gpu->compute, value), 1;
    if (!strcmp(key, "graphics")) return add_process(&gpu->graphics, value), 1;
    if (!strcmp(key, "mig")) return add_slice(gpu, value), 1;
    if (!strcmp(key, "fail") && gpu->nfails < LENGTH(gpu->fails)) {
        unsigned i = gpu->nfails++;
        return sscanf(value, "%63s %d", gpu->fails[i].function, &gpu->fails[i].code);
    }
    return 0;
}

static int set_machine(const char *key, const char *value)
{
    if (!strcmp(key, "driver_version"))
        return snprintf(machine.driver, sizeof machine.driver, "%s", value) >= 0;
    if (!strcmp(key, "cuda_version")) return sscanf(value, "%d", &machine.cuda);
    if (!strcmp(key, "init_error")) return sscanf(value, "%d", &machine.init_error);
    return 0;
}

static struct gpu *add_gpu(void)
{
    if (machine.ngpus == LENGTH(machine.gpus)) return NULL;
    unsigned index = machine.ngpus++;
    struct gpu *gpu = &machine.gpus[index];
    *gpu = (struct gpu){
        .name = "NVIDIA H100 80GB HBM3", .serial = "1650000000000", .minor = index,
        .total_mib = 81559, .temperature = 35, .power_mw = 70000, .power_limit_mw = 700000,
        .cc_major = 9,
    };
    snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-00000000-0000-4000-8000-%012u", index);
    snprintf(gpu->pci, sizeof gpu->pci, "00000000:%02X:00.0", 0x10 + index);
    return gpu;
}

static void parse(FILE *file)
{
    char line[512], key[64], value[400];
    struct gpu *gpu = NULL;
    memset(&machine, 0, sizeof machine);
    strcpy(machine.driver, "580.95.05");
    machine.cuda = 13000;
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#' || line[strspn(line, " \t\n")] == 0) continue;
        if (!strncmp(line, "[gpu]", 5)) {
            if (!(gpu = add_gpu())) return;
        } else if (sscanf(line, " %63[a-z_] = %399[^\n]", key, value) != 2 ||
                   !(gpu ? set_gpu(gpu, key, value) : set_machine(key, value))) {
            fprintf(stderr, "fake nvml: not understood: %s", line);
        }
    }
}

static int is_by_hook(void) { return !getenv("FAKE_NVML_CONFIG") && access(IN_CONTAINER, F_OK) == 0; }

/* Bring `machine` up to date; called with the lock held. */
static void refresh(void)
{
    const char *path = is_by_hook() ? IN_CONTAINER : getenv("FAKE_NVML_CONFIG");
    struct stat now;
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file || fstat(fileno(file), &now)) {
        if (file) fclose(file);
        memset(&machine, 0, sizeof machine);
        memset(&read_from, 0, sizeof read_from);
        machine.init_error = DRIVER_NOT_LOADED;
        return;
    }
    if (now.st_ino != read_from.st_ino || now.st_size != read_from.st_size ||
        memcmp(&now.st_mtim, &read_from.st_mtim, sizeof now.st_mtim)) {
        read_from = now;
        parse(file);
    }
    fclose(file);
}

static int has_node(const char *format, unsigned number)
{
    char path[64];
    if (!getenv("FAKE_NVML_NEED_DEVICE_NODE") && !is_by_hook()) return 1;
    snprintf(path, sizeof path, format, number);
    return access(path, F_OK) == 0;
}
static int is_here(const struct gpu *gpu) { return has_node("/dev/nvidia%u", gpu->minor); }
static int has_slice(const struct slice *slice) { return has_node("/dev/nvidia-caps/nvidia-cap%u", slice->cap); }

/* The number of GPUs that are here before `end`, which is then the next one's index. */
static unsigned count_before(const struct gpu *end)
{
    unsigned count = 0;
    for (const struct gpu *gpu = machine.gpus; gpu < end; gpu++) count += is_here(gpu);
    return count;
}

static int give_handle(const char *uuid, struct handle **to)
{
    for (unsigned i = 0; i < nhandles; i++)
        if (!strcmp(handles[i].uuid, uuid)) return *to = &handles[i], OK;
    if (nhandles == LENGTH(handles)) return NO_MEMORY;
    strcpy(handles[nhandles].uuid, uuid);
    return *to = &handles[nhandles++], OK;
}

/* The GPU that carries this UUID, or has a slice that does. */
static struct gpu *find_gpu(const char *uuid, struct slice **slice)
{
    for (struct gpu *gpu = machine.gpus; gpu < machine.gpus + machine.ngpus; gpu++) {
        if (!is_here(gpu)) continue;
        *slice = NULL;
        if (!strcasecmp(gpu->uuid, uuid)) return gpu;
        for (*slice = gpu->slices; *slice < gpu->slices + gpu->nslices; ++*slice)
            if (!strcasecmp((*slice)->uuid, uuid) && has_slice(*slice)) return gpu;
    }
    return NULL;
}

static int resolve(const struct handle *handle, const char *function, struct gpu **gpu, struct slice **slice)
{
    if (!users) return UNINITIALIZED;
    refresh();
    if (handle < handles || handle >= handles + nhandles) return INVALID_ARGUMENT;
    if (!(*gpu = find_gpu(handle->uuid, slice))) return GPU_IS_LOST;
    for (unsigned i = 0; i < (*gpu)->nfails; i++)
        if (!strcmp((*gpu)->fails[i].function, function)) return (*gpu)->fails[i].code;
    return (int)(*gpu)->error;
}

/* The body of a call under the lock: on the machine, on a GPU or slice, on a GPU. */
#define WITH_MACHINE(...) { \
    pthread_mutex_lock(&lock); \
    int rc = users ? OK : UNINITIALIZED; \
    if (!rc) { refresh(); __VA_ARGS__ } \
    pthread_mutex_unlock(&lock); \
    return rc; }
#define WITH_DEVICE(handle, ...) { \
    struct gpu *gpu; struct slice *slice; \
    pthread_mutex_lock(&lock); \
    int rc = resolve(handle, __func__, &gpu, &slice); \
    if (!rc) { __VA_ARGS__ } \
    pthread_mutex_unlock(&lock); \
    return rc; }
#define WITH_GPU(handle, ...) WITH_DEVICE(handle, if (slice) rc = NOT_SUPPORTED; else { __VA_ARGS__ })
#define WITH_SLICE(handle, ...) WITH_DEVICE(handle, if (!slice) rc = NOT_SUPPORTED; else { __VA_ARGS__ })

static int put(char *to, unsigned room, const char *text)
{
    if (strlen(text) >= room) return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return OK;
}

/* ---- the library ------------------------------------------------------------ */
API nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    pthread_mutex_lock(&lock);
    refresh();
    int rc = machine.init_error;
    users += !rc;
    pthread_mutex_unlock(&lock);
    return rc;
}
API nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API nvmlShutdown(void) WITH_MACHINE(users--;)

EXPORT const char *nvmlErrorString(int code)
{
    static const char *const known[] = {
        [OK] = "Success", [UNINITIALIZED] = "Uninitialized", [INVALID_ARGUMENT] = "Invalid Argument",
        [NOT_SUPPORTED] = "Not Supported", [NOT_FOUND] = "Not Found",
        [INSUFFICIENT_SIZE] = "Insufficient Size", [DRIVER_NOT_LOADED] = "Driver Not Loaded",
        [TIMEOUT] = "Timeout", [GPU_IS_LOST] = "GPU is lost", [18] = "Driver/library version mismatch",
        [NO_MEMORY] = "Insufficient Memory", [VERSION_MISMATCH] = "Argument version mismatch",
    };
    return code >= 0 && code < (int)LENGTH(known) && known[code] ? known[code] : "Unknown Error";
}

API nvmlSystemGetDriverVersion(char *to, unsigned room) WITH_MACHINE(rc = put(to, room, machine.driver);)
API nvmlSystemGetNVMLVersion(char *to, unsigned room)
    WITH_MACHINE(char text[96]; snprintf(text, sizeof text, "13.%s", machine.driver); rc = put(to, room, text);)
API nvmlSystemGetCudaDriverVersion(int *to) WITH_MACHINE(*to = machine.cuda;)
API nvmlSystemGetCudaDriverVersion_v2(int *to) WITH_MACHINE(*to = machine.cuda;)

API nvmlSystemGetProcessName(unsigned pid, char *to, unsigned room)
{
    char text[256] = "";
    snprintf(text, sizeof text, "/proc/%u/cmdline", pid);
    FILE *file = fopen(text, "re");
    if (!file) return NOT_FOUND;
    size_t length = fread(text, 1, sizeof text - 1, file);
    text[length] = 0;
    fclose(file);
    return length ? put(to, room, text) : NOT_FOUND;
}

/* ---- finding devices ---------------------------------------------------------- */
API nvmlDeviceGetCount_v2(unsigned *to) WITH_MACHINE(*to = count_before(machine.gpus + machine.ngpus);)

API nvmlDeviceGetHandleByIndex_v2(unsigned index, struct handle **to)
    WITH_MACHINE(
        rc = INVALID_ARGUMENT;
        for (struct gpu *gpu = machine.gpus; gpu < machine.gpus + machine.ngpus; gpu++)
            if (is_here(gpu) && index-- == 0) {
                rc = gpu->error == GPU_IS_LOST ? GPU_IS_LOST : give_handle(gpu->uuid, to);
                break;
            })

API nvmlDeviceGetHandleByUUID(const char *uuid, struct handle **to)
    WITH_MACHINE(
        struct slice *slice;
        struct gpu *gpu = find_gpu(uuid, &slice);
        if (!gpu) rc = NOT_FOUND;
        else if (gpu->error == GPU_IS_LOST) rc = GPU_IS_LOST;
        else rc = give_handle(slice ? slice->uuid : gpu->uuid, to);)

API nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, struct handle **to)
    WITH_MACHINE(
        rc = NOT_FOUND;
        for (struct gpu *gpu = machine.gpus; gpu < machine.gpus + machine.ngpus; gpu++)
            if (is_here(gpu) && !strcasecmp(gpu->pci, bus_id))
                rc = gpu->error == GPU_IS_LOST ? GPU_IS_LOST : give_handle(gpu->uuid, to);)

/* ---- one device ------------------------------------------------------------------ */
API nvmlDeviceGetUUID(struct handle *h, char *to, unsigned room)
    WITH_DEVICE(h, rc = put(to, room, slice ? slice->uuid : gpu->uuid);)
API nvmlDeviceGetName(struct handle *h, char *to, unsigned room)
    WITH_DEVICE(h, rc = put(to, room, slice ? slice->name : gpu->name);)
API nvmlDeviceGetSerial(struct handle *h, char *to, unsigned room) WITH_GPU(h, rc = put(to, room, gpu->serial);)
API nvmlDeviceGetMinorNumber(struct handle *h, unsigned *to) WITH_GPU(h, *to = gpu->minor;)
API nvmlDeviceGetIndex(struct handle *h, unsigned *to) WITH_GPU(h, *to = count_before(gpu);)
API nvmlDeviceGetTemperature(struct handle *h, unsigned sensor, unsigned *to)
    WITH_GPU(h, if (sensor) rc = INVALID_ARGUMENT; else *to = gpu->temperature;)
API nvmlDeviceGetTemperatureV(struct handle *h, struct temperature *to)
    WITH_GPU(h, if (to->version != VERSIONED(*to, 1)) rc = VERSION_MISMATCH; else to->celsius = (int)gpu->temperature;)
API nvmlDeviceGetPowerUsage(struct handle *h, unsigned *to) WITH_GPU(h, *to = gpu->power_mw;)
API nvmlDeviceGetEnforcedPowerLimit(struct handle *h, unsigned *to) WITH_GPU(h, *to = gpu->power_limit_mw;)
API nvmlDeviceGetComputeMode(struct handle *h, unsigned *to) WITH_GPU(h, *to = gpu->compute_mode;)
API nvmlDeviceGetCudaComputeCapability(struct handle *h, int *major, int *minor)
    WITH_DEVICE(h, *major = (int)gpu->cc_major; *minor = (int)gpu->cc_minor;)
API nvmlDeviceGetUtilizationRates(struct handle *h, struct utilization *to)
    WITH_GPU(h, to->gpu = gpu->util_gpu; to->memory = gpu->util_mem;)

API nvmlDeviceGetTotalEccErrors(struct handle *h, int type, int counter, unsigned long long *to)
    WITH_GPU(h, if (type != 1 || counter != 0) rc = NOT_SUPPORTED; else *to = gpu->ecc;)

static struct memory memory_of(const struct gpu *gpu, const struct slice *slice)
{
    unsigned long long total = slice ? slice->total : gpu->total_mib * MIB;
    unsigned long long used = slice ? slice->used : gpu->used_mib * MIB;
    return (struct memory){total, total - used, used};
}
API nvmlDeviceGetMemoryInfo(struct handle *h, struct memory *to) WITH_DEVICE(h, *to = memory_of(gpu, slice);)
API nvmlDeviceGetMemoryInfo_v2(struct handle *h, struct memory_v2 *to)
    WITH_DEVICE(h,
        struct memory memory = memory_of(gpu, slice);
        if (to->version != VERSIONED(*to, 2)) rc = VERSION_MISMATCH;
        else *to = (struct memory_v2){to->version, memory.total, 0, memory.free, memory.used};)

API nvmlDeviceGetPciInfo_v3(struct handle *h, struct pci *to)
    WITH_DEVICE(h,
        *to = (struct pci){.device_id = 0x233010DE, .subsystem_id = 0x16C110DE};
        sscanf(gpu->pci, "%x:%x:%x", &to->domain, &to->bus, &to->device);
        strcpy(to->bus_id, gpu->pci);
        snprintf(to->bus_id_legacy, sizeof to->bus_id_legacy, "%04X:%02X:%02X.0", to->domain & 0xffff,
                 to->bus & 0xff, to->device & 0xff);)

/* ---- processes -------------------------------------------------------------------- */
static int list_processes(const struct processes *from, const struct slice *slice, unsigned *count, struct process *to)
{
    unsigned room = to ? *count : 0, found = 0;
    for (unsigned i = 0; i < from->count; i++) {
        const struct process *process = &from->list[i];
        if (slice && (process->gi != slice->gi || process->ci != slice->ci)) continue;
        if (found < room) to[found] = *process;
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : OK;
}
API nvmlDeviceGetComputeRunningProcesses_v2(struct handle *h, unsigned *count, struct process *to)
    WITH_DEVICE(h, rc = list_processes(&gpu->compute, slice, count, to);)
API nvmlDeviceGetComputeRunningProcesses_v3(struct handle *h, unsigned *count, struct process *to)
    WITH_DEVICE(h, rc = list_processes(&gpu->compute, slice, count, to);)
API nvmlDeviceGetGraphicsRunningProcesses_v2(struct handle *h, unsigned *count, struct process *to)
    WITH_DEVICE(h, rc = list_processes(&gpu->graphics, slice, count, to);)
API nvmlDeviceGetGraphicsRunningProcesses_v3(struct handle *h, unsigned *count, struct process *to)
    WITH_DEVICE(h, rc = list_processes(&gpu->graphics, slice, count, to);)

/* ---- MIG ---------------------------------------------------------------------------- */
API nvmlDeviceGetMigMode(struct handle *h, unsigned *current, unsigned *pending)
    WITH_GPU(h, if (gpu->cc_major < 8) rc = NOT_SUPPORTED; else *current = *pending = gpu->mig_mode;)
API nvmlDeviceGetMaxMigDeviceCount(struct handle *h, unsigned *to) WITH_GPU(h, *to = gpu->cc_major < 8 ? 0 : 7;)
API nvmlDeviceGetMigDeviceHandleByIndex(struct handle *h, unsigned index, struct handle **to)
    WITH_GPU(h,
        if (!gpu->mig_mode || index >= gpu->nslices || !has_slice(&gpu->slices[index])) rc = NOT_FOUND;
        else rc = give_handle(gpu->slices[index].uuid, to);)
API nvmlDeviceIsMigDeviceHandle(struct handle *h, unsigned *to) WITH_DEVICE(h, *to = slice != NULL;)
API nvmlDeviceGetDeviceHandleFromMigDeviceHandle(struct handle *h, struct handle **to)
    WITH_SLICE(h, rc = give_handle(gpu->uuid, to);)
API nvmlDeviceGetGpuInstanceId(struct handle *h, unsigned *to) WITH_SLICE(h, *to = slice->gi;)
API nvmlDeviceGetComputeInstanceId(struct handle *h, unsigned *to) WITH_SLICE(h, *to = slice->ci;)
API nvmlDeviceGetAttributes_v2(struct handle *h, struct attributes *to)
    WITH_SLICE(h,
        *to = (struct attributes){.multiprocessors = 16, .gi_slices = 1, .ci_slices = 1,
                                  .memory_mib = slice->total / MIB};)

/* ---- events: Xids --------------------------------------------------------------------- */
API nvmlEventSetCreate(struct event_set **to) WITH_MACHINE(if (!(*to = calloc(1, sizeof **to))) rc = NO_MEMORY;)
API nvmlEventSetFree(struct event_set *set) { free(set); return OK; }
API nvmlDeviceGetSupportedEventTypes(struct handle *h, unsigned long long *to) WITH_GPU(h, *to = XID_EVENT;)
API nvmlDeviceRegisterEvents(struct handle *h, unsigned long long types, struct event_set *set)
    WITH_GPU(h,
        if (types != XID_EVENT || set->count == LENGTH(set->watched)) rc = NOT_SUPPORTED;
        else {
            strcpy(set->watched[set->count].uuid, gpu->uuid);
            set->watched[set->count++].seen = gpu->xid_serial;
        })

static int next_event(struct event_set *set, struct event *to)
    WITH_MACHINE(
        rc = TIMEOUT;
        for (unsigned i = 0; i < set->count && rc == TIMEOUT; i++) {
            struct slice *slice;
            struct gpu *gpu = find_gpu(set->watched[i].uuid, &slice);
            if (!gpu || gpu->xid_serial <= set->watched[i].seen) continue;
            set->watched[i].seen = gpu->xid_serial;
            *to = (struct event){NULL, XID_EVENT, gpu->xid, NO_INSTANCE, NO_INSTANCE};
            rc = give_handle(gpu->uuid, &to->device);
        })

API nvmlEventSetWait_v2(struct event_set *set, struct event *to, unsigned timeout_ms)
{
    for (unsigned waited_ms = 0;; waited_ms += 10) {
        int rc = next_event(set, to);
        if (rc != TIMEOUT || waited_ms >= timeout_ms) return rc;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
}
