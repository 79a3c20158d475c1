// What netc.runtime.native calls.

extern "C" {

void* netc_create(const Setup* setup) { return new Solver(*setup); }

void netc_destroy(void* solver) { delete static_cast<Solver*>(solver); }

void netc_rates(void* solver, double time, const double* v, double* to) {
    static_cast<Solver*>(solver)->rates(time, v, to);
}

void netc_linearised(void* solver, double time, const double* v, double* to, double* entries) {
    static_cast<Solver*>(solver)->linearised(time, v, to, entries);
}

void netc_begin(void* solver, const Run* run) { static_cast<Solver*>(solver)->begin(*run); }

int netc_advance(void* solver, double seconds, int64_t capacity, double* rows, int64_t* filled) {
    return static_cast<Solver*>(solver)->advance(seconds, capacity, rows, filled);
}

void netc_get(void* solver, double* v, double* slope, double* largest, Report* report) {
    static_cast<Solver*>(solver)->get(v, slope, largest, report);
}

// How many states were held; the first `capacity` of them go to `to`.
int64_t netc_held(void* solver, int64_t capacity, Held* to) {
    const std::vector<Held>& found = static_cast<Solver*>(solver)->held();
    std::copy(found.begin(), found.begin() + std::min<int64_t>(capacity, found.size()), to);
    return found.size();
}

void netc_set(void* solver, const double* v) { static_cast<Solver*>(solver)->set(v); }

void netc_leap(void* solver, double time, const double* v) { static_cast<Solver*>(solver)->leap(time, v); }
}
