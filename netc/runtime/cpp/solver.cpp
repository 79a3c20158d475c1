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

void netc_set(void* solver, const double* v) { static_cast<Solver*>(solver)->set(v); }
}
