// A counter under a boost::interprocess::interprocess_mutex, in memory that forked processes share.
// Arguments: how many processes, how many milliseconds, the CPUs to pin them to in turn.
// Prints the nanoseconds that they worked and how often each of them added.

#include <boost/interprocess/sync/interprocess_mutex.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <vector>

struct Shared {
    std::atomic<int> ready, phase;
    alignas(128) boost::interprocess::interprocess_mutex mutex;
    unsigned long count;
    alignas(128) unsigned long counts[64];
};

// As the others' gate, and for its reason.
static void look_again_soon() {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
}

static unsigned long work(Shared *shared, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) std::_Exit(1);
    shared->ready.fetch_add(1);
    while (shared->phase.load(std::memory_order_relaxed) == 0) look_again_soon();
    unsigned long times = 0;
    for (; shared->phase.load(std::memory_order_relaxed) == 1; times++) {
        shared->mutex.lock();
        shared->count++;
        asm volatile("" : : "r"(&shared->count) : "memory");
        shared->mutex.unlock();
    }
    return times;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    int workers = std::atoi(argv[1]);
    if (workers < 1 || workers > 64) return 2;
    void *memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    Shared *shared = new (memory) Shared();
    for (int worker = 0; worker < workers; worker++) {
        pid_t child = fork();
        if (child < 0) return 1;
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            shared->counts[worker] = work(shared, std::atoi(argv[3 + worker % (argc - 3)]));
            std::_Exit(0);
        }
    }
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (shared->ready.load() < workers) {
        if (std::chrono::steady_clock::now() > deadline) return 1;
        look_again_soon();
    }
    auto start = std::chrono::steady_clock::now();
    shared->phase.store(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(argv[2])));
    shared->phase.store(2);
    std::chrono::nanoseconds time = std::chrono::steady_clock::now() - start;
    while (wait(nullptr) > 0) {}
    unsigned long total = 0;
    std::printf("%lld", static_cast<long long>(time.count()));
    for (int worker = 0; worker < workers; worker++) {
        std::printf(" %lu", shared->counts[worker]);
        total += shared->counts[worker];
    }
    std::printf("\n");
    return total == shared->count ? 0 : 1;
}
