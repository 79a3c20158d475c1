// The steps of netc.runtime.radau.Radau, and the rows and edges of netc.runtime.transient around them.

using Clock = std::chrono::steady_clock;

class Solver : public Equations {
public:
    explicit Solver(const Setup& s) : Equations(s) {
        for (Vector* x : {&before_, &slope_, &error_, &rough_, &again_, &after_}) x->assign(n_, 0.0);
        for (Vector* x : {&polynomial_, &guess_}) x->assign(3 * n_, 0.0);
    }

    void begin(const Run& r) {
        run_ = r;
        std::copy(r.start, r.start + n_, v_.begin());
        std::copy(r.absolute, r.absolute + n_, absolute_.begin());
        std::copy(r.least, r.least + n_, least_.begin());
        std::fill(largest_.begin(), largest_.end(), 0.0);
        watch_.begin(states_);
        newton_ = std::max(1e-3, std::min(3e-3, std::sqrt(r.relative)));
        left_ = r.most_steps;
        edge_ = row_ = pending_ = steps_ = 0;
        inside_ = consistent_ = false;
        std::fill(floor_.begin(), floor_.end(), 0.0);
    }

    void set(const double* v) {
        std::copy(v, v + n_, v_.begin());
        consistent_ = true;
    }

    // Jump to `v` at `time`, a little later within the stretch, where no step was short enough.
    void leap(double time, const double* v) {
        ++steps_;
        before_.swap(v_);
        std::copy(v, v + n_, v_.begin());
        std::fill(polynomial_.begin(), polynomial_.end(), 0.0);
        last_start_ = time_;
        last_end_ = time_ = time;
        pending_ = row_;
        while (pending_ < run_.row_count && run_.times[pending_] < time) ++pending_;
        resume();
    }

    void get(double* v, double* slope, double* largest, Report* report) const {
        std::copy(v_.begin(), v_.end(), v);
        std::copy(slope_.begin(), slope_.end(), slope);
        std::copy(largest_.begin(), largest_.end(), largest);
        report->time = time_;
        report->steps = steps_;
        report->left = left_;
        report->end = end_;
    }

    const std::vector<Held>& held() const { return watch_.found(); }

    // Until the end, or until what is returned has to be seen to; rows of variables go to `rows`.
    Status advance(double seconds, int64_t capacity, double* rows, int64_t* filled) {
        const auto until = Clock::now() + std::chrono::duration<double>(seconds);
        *filled = 0;
        auto put = [&](const double* v) {
            std::copy(v, v + n_, rows + n_ * (*filled)++);
            ++row_;
        };
        for (int64_t count = 0;; ++count) {
            while (row_ < pending_) {  // rows within the last step
                if (*filled == capacity) return FULL;
                const double s = (std::min(run_.times[row_], last_end_) - last_start_) / (last_end_ - last_start_);
                within(s, before_, trial_.data());
                put(trial_.data());
            }
            if (!inside_) {
                if (edge_ + 1 >= run_.edge_count) {
                    for (; row_ < run_.row_count;) {
                        if (*filled == capacity) return FULL;
                        put(v_.data());
                    }
                    return DONE;
                }
                const double a = run_.edges[edge_], b = run_.edges[edge_ + 1];
                const double margin = std::min(1e-9 * (b - a), 4 * spacing(b) + 1e-12 * (b - a));
                time_ = a + margin;
                if (!consistent_ && states_ < n_ && !algebraic(time_)) return INCONSISTENT;
                consistent_ = true;
                while (row_ < run_.row_count && run_.times[row_] <= a) {
                    if (*filled == capacity) return FULL;
                    put(v_.data());
                }
                enter(a, b, margin);
            }
            if ((count & 15) == 15 && Clock::now() > until) return PAUSED;
            if (!attempt()) return STUCK;
        }
    }

private:
    void enter(double a, double b, double margin) {
        start_ = a;
        end_ = b;
        low_ = a + margin;
        high_ = b - margin;
        time_ = a;
        resume();
        inside_ = true;
    }

    // Begin anew at time_ from v_.
    void resume() {
        const double left = end_ - time_;
        h_ = std::min(std::min(run_.first * left, run_.longest), left);
        linearised(now(), v_.data(), slope_.data(), jacobian_.data());
        fresh_ = true;
        factored_ = 0.0;
        has_last_ = rejected_ = false;
        pressed_ = 0;
        before_error_ = before_h_ = 0.0;
        for (int64_t k = 0; k < n_; ++k) largest_[k] = std::max(largest_[k], std::fabs(v_[k]));
        watch_.restart(v_.data());
    }

    double now() const { return std::min(std::max(time_, low_), high_); }

    void renew() {
        boths_[0].run(now(), v_.data(), n_);
        boths_[0].results(jacobian_.data(), n_, entries_);
        fresh_ = true;
        factored_ = 0.0;
    }

    // Neither iteration finds the stages: with a new Jacobian, else with a shorter step, false where there is none.
    bool fail() {
        if (!fresh_) {
            renew();
            return true;
        }
        h_ /= 4;
        has_last_ = false;
        rejected_ = true;
        return pressed_ == 0;
    }

    // One step tried; false where none is short enough.
    bool attempt() {
        // where rates jump, a step as short as the time can tell has what error it has
        const double shortest = 16 * spacing(std::max(time_, end_ - start_));
        h_ = std::max(std::min(h_, run_.longest), shortest);
        if (time_ + h_ * (1 + 1e-9) >= end_)
            h_ = end_ - time_;
        else if (time_ + 2 * h_ > end_)
            h_ = (end_ - time_) / 2;
        pressed_ = h_ <= shortest ? pressed_ + 1 : 0;
        if (!(h_ > 0) || !(pressed_ <= MOST_SHORTEST) || left_ <= 0 || !finite(jacobian_.data(), entries_)) return false;
        --left_;
        if (factored_ != h_) {
            if (!factor_real(real_, jacobian_.data(), MU / h_) || !factor_complex(h_)) {
                return fail();
            }
            factored_ = h_;
        }
        double times[3];
        for (int i = 0; i < 3; ++i) times[i] = std::min(std::max(time_ + NODES[i] * h_, low_), high_);
        std::fill(guess_.begin(), guess_.end(), 0.0);
        if (has_last_)
            for (int i = 0; i < 3; ++i) {
                within((time_ + NODES[i] * h_ - last_start_) / (last_end_ - last_start_), before_, &guess_[i * n_]);
                for (int64_t k = 0; k < n_; ++k) guess_[i * n_ + k] -= v_[k];
            }
        measure(v_.data());
        round_off();
        int iterations = 0;
        double rate = 0.0;
        z_ = guess_;
        if (!simplified(times, iterations, rate)) {
            z_ = guess_;
            if (!fully(times, iterations, rate)) {
                return fail();
            }
        }
        for (int64_t k = 0; k < n_; ++k) after_[k] = v_[k] + z_[2 * n_ + k];
        measure(after_.data());
        for (int64_t k = 0; k < n_; ++k) {
            double sum = 0.0;
            if (k < states_)
                for (int i = 0; i < 3; ++i) sum += ERROR[i] * z_[i * n_ + k];
            rough_[k] = sum / h_;
            error_[k] = slope_[k] + rough_[k];
        }
        real_.solve(error_.data());
        double norm = worst(error_.data());
        const double safety = 0.9 * (2 * MOST_ITERATIONS + 1) / (2 * MOST_ITERATIONS + iterations);
        if (norm > 1 && (rejected_ || !has_last_ || norm < 50)) {
            for (int64_t k = 0; k < n_; ++k) trial_[k] = v_[k] + error_[k];
            rates(std::max(time_, low_), trial_.data(), again_.data());
            if (finite(again_.data(), n_)) {
                for (int64_t k = 0; k < n_; ++k) error_[k] = again_[k] + rough_[k];
                real_.solve(error_.data());
                norm = worst(error_.data());
            }
        }
        double defect = 0.0;
        const bool checked = norm <= 1 && !linear_;
        if (checked) {
            linearised(times[2], after_.data(), at_end_.data(), there_.data());
            defect = defect_at_end();
        }
        if (defect > 1 && !fresh_) {
            renew();
            return true;
        }
        if (!(norm <= 1 && defect <= 1) && !(pressed_ && std::isfinite(norm) && std::isfinite(defect))) {
            const double bad = std::isnan(norm) || norm > defect ? norm : defect;
            h_ *= std::isfinite(bad) ? std::max(SMALLEST, safety * std::pow(bad, -0.25)) : SMALLEST;
            rejected_ = true;
            if (!fresh_) renew();
            return true;
        }
        double growth = norm == 0 ? LARGEST : std::min(LARGEST, safety * std::pow(norm, -0.25));
        if (before_h_ != 0 && norm > 0 && before_error_ > 0)
            growth = std::min(growth, safety * h_ / before_h_ * std::pow(before_error_ / norm, 0.25)
                                          * std::pow(norm, -0.25));
        before_error_ = std::max(norm, 1e-2);
        before_h_ = h_;
        accept();
        if (checked)
            for (int64_t k = 0; k < states_; ++k)
                watch_.step(k, h_, v_[k], at_end_[k], diagonal_[k] < entries_ ? there_[diagonal_[k]] : 0.0, largest_[k]);
        const bool known = checked && now() == times[2];
        if (known)
            slope_.swap(at_end_);
        else if (time_ < end_)
            rates(now(), v_.data(), slope_.data());
        if (rejected_) growth = std::min(growth, 1.0);
        rejected_ = false;
        growth = std::max(growth, SMALLEST);
        if ((iterations > 2 && rate > 1e-3) || defect > CREPT) {
            if (checked) {
                jacobian_.swap(there_);
                fresh_ = true;
                factored_ = 0.0;
            } else if (time_ < end_)
                renew();
        } else {
            fresh_ = false;
            if (1.0 <= growth && growth < 1.2) growth = 1.0;
        }
        h_ *= growth;
        if (time_ >= end_) {
            inside_ = consistent_ = false;
            ++edge_;
        }
        return true;
    }

    void accept() {
        ++steps_;
        has_last_ = true;
        last_start_ = time_;
        last_end_ = time_ + h_ < end_ * (1 - 1e-15) ? time_ + h_ : end_;
        before_.swap(v_);
        v_ = after_;
        // of steps that count: one led astray is huge
        for (int64_t k = 0; k < n_; ++k) largest_[k] = std::max(largest_[k], std::fabs(v_[k]));
        for (int p = 0; p < 3; ++p)
            for (int64_t k = 0; k < n_; ++k) {
                double sum = 0.0;
                for (int i = 0; i < 3; ++i) sum += POLYNOMIAL[3 * p + i] * z_[i * n_ + k];
                polynomial_[p * n_ + k] = sum;
            }
        time_ = last_end_;
        pending_ = row_;
        while (pending_ < run_.row_count && run_.times[pending_] <= last_end_ * (1 + 1e-12)) ++pending_;
    }

    // What the polynomial of the last step, from `from`, is at the share `s` of it.
    void within(double s, const Vector& from, double* to) const {
        const double s2 = s * s, s3 = s2 * s;
        const double* const p = polynomial_.data();
        for (int64_t k = 0; k < n_; ++k) to[k] = from[k] + (s * p[k] + s2 * p[n_ + k] + s3 * p[2 * n_ + k]);
    }

    Vector before_, slope_, error_, rough_, again_, after_, polynomial_, guess_;
    Watch watch_;
    double start_ = 0, end_ = 0, low_ = 0, high_ = 0, time_ = 0, factored_ = 0;
    double before_error_ = 0, before_h_ = 0, last_start_ = 0, last_end_ = 0;
    int64_t left_ = 0, pressed_ = 0, edge_ = 0, row_ = 0, pending_ = 0, steps_ = 0;
    bool inside_ = false, consistent_ = false, fresh_ = false, has_last_ = false, rejected_ = false;
};
