// The steps of netc.runtime.radau.Radau, and the rows and edges of netc.runtime.transient around them.

struct Setup {
    int64_t size, states, entries, linear;
    Tape rates, both;
    const int64_t *rows, *columns, *order;
};

struct Run {
    double relative, first, longest;
    int64_t most_steps, edge_count, row_count, held_count;
    const double *absolute, *least, *start, *edges, *times, *places;
    const int64_t* held;
};

struct Report {
    double time;
    int64_t steps, left;
};

enum Status { DONE, FULL, PAUSED, STUCK, INCONSISTENT };

using Vector = std::vector<double>;
using Clock = std::chrono::steady_clock;

static inline bool finite(const double* x, int64_t count) {
    for (int64_t k = 0; k < count; ++k)
        if (!(std::fabs(x[k]) <= std::numeric_limits<double>::max())) return false;
    return true;
}

static inline double spacing(double x) { return std::nextafter(x, std::numeric_limits<double>::infinity()) - x; }

class Solver {
public:
    explicit Solver(const Setup& s) : n_(s.size), states_(s.states), entries_(s.entries), linear_(s.linear != 0) {
        rates_.load(s.rates);
        for (Machine& stage : stages_) stage.load(s.rates);
        for (Machine& both : boths_) both.load(s.both);
        rows_.assign(s.rows, s.rows + entries_);
        columns_.assign(s.columns, s.columns + entries_);
        const std::vector<int64_t> order(s.order, s.order + n_);
        shape(order);
        for (Vector* x : {&v_, &before_, &slope_, &at_end_, &scale_, &largest_, &least_, &absolute_, &error_, &rough_, &again_,
                          &after_, &rounding_, &trial_, &right_, &right_real_, &floor_})
            x->assign(n_, 0.0);
        for (Vector* x : {&z_, &slopes_, &polynomial_, &guess_}) x->assign(3 * n_, 0.0);
        right_complex_.assign(n_, Complex());
        jacobian_.assign(entries_, 0.0);
        there_.assign(entries_, 0.0);
        blocks_.assign(3 * entries_, 0.0);
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

    void get(double* v, double* slope, double* largest, Report* report) const {
        std::copy(v_.begin(), v_.end(), v);
        std::copy(slope_.begin(), slope_.end(), slope);
        std::copy(largest_.begin(), largest_.end(), largest);
        report->time = time_;
        report->steps = steps_;
        report->left = left_;
    }

    const std::vector<Held>& held() const { return watch_.found(); }

    void rates(double time, const double* v, double* to) {
        rates_.run(time, v, n_);
        rates_.results(to, 0, n_);
    }

    void linearised(double time, const double* v, double* to, double* entries) {
        boths_[0].run(time, v, n_);
        boths_[0].results(to, 0, n_);
        boths_[0].results(entries, n_, entries_);
    }

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
    void shape(const std::vector<int64_t>& order) {
        // the pattern of a shifted Jacobian: entries, and the diagonal of the states
        std::vector<int64_t> rows, columns, diagonal(n_, -1);
        for (int64_t k = 0; k < entries_; ++k) {
            if (rows_[k] == columns_[k]) diagonal[rows_[k]] = k;
            rows.push_back(rows_[k]);
            columns.push_back(columns_[k]);
        }
        for (int64_t k = 0; k < states_; ++k) {
            if (diagonal[k] < 0) {
                diagonal[k] = rows.size();
                rows.push_back(k);
                columns.push_back(k);
            }
        }
        diagonal_.assign(diagonal.begin(), diagonal.begin() + states_);
        real_.shape(n_, rows, columns, order);
        complex_.shape(n_, rows, columns, order);
        ending_.shape(n_, rows, columns, order);
        real_values_.assign(rows.size(), 0.0);
        complex_values_.assign(rows.size(), Complex());
        // the unknowns alone
        std::vector<int64_t> some_rows, some_columns, some_order;
        for (int64_t k = 0; k < entries_; ++k)
            if (rows_[k] >= states_ && columns_[k] >= states_) {
                some_.push_back(k);
                some_rows.push_back(rows_[k] - states_);
                some_columns.push_back(columns_[k] - states_);
            }
        for (int64_t k : order)
            if (k >= states_) some_order.push_back(k - states_);
        unknowns_.shape(n_ - states_, some_rows, some_columns, some_order);
        some_values_.assign(some_.size(), 0.0);
        // three stages at once, variable by variable
        std::vector<int64_t> whole_rows, whole_columns, whole_order;
        for (int64_t stage = 0; stage < 3; ++stage)
            for (int64_t k = 0; k < entries_; ++k) {
                whole_rows.push_back(3 * rows_[k] + stage);
                whole_columns.push_back(3 * columns_[k] + stage);
            }
        for (int64_t k = 0; k < states_; ++k)
            for (int64_t i = 0; i < 3; ++i)
                for (int64_t j = 0; j < 3; ++j) {
                    if (i == j && diagonal[k] < entries_) {
                        coupling_.push_back(i * entries_ + diagonal[k]);
                        continue;
                    }
                    coupling_.push_back(whole_rows.size());
                    whole_rows.push_back(3 * k + i);
                    whole_columns.push_back(3 * k + j);
                }
        for (int64_t k : order)
            for (int64_t stage = 0; stage < 3; ++stage) whole_order.push_back(3 * k + stage);
        whole_.shape(3 * n_, whole_rows, whole_columns, whole_order);
        whole_values_.assign(whole_rows.size(), 0.0);
        whole_right_.assign(3 * n_, 0.0);
    }

    void enter(double a, double b, double margin) {
        start_ = a;
        end_ = b;
        low_ = a + margin;
        high_ = b - margin;
        time_ = a;
        h_ = std::min(std::min(run_.first * (b - a), run_.longest), b - a);
        linearised(low_, v_.data(), slope_.data(), jacobian_.data());
        fresh_ = true;
        factored_ = 0.0;
        has_last_ = rejected_ = false;
        before_error_ = before_h_ = 0.0;
        for (int64_t k = 0; k < n_; ++k) largest_[k] = std::max(largest_[k], std::fabs(v_[k]));
        watch_.restart(v_.data());
        inside_ = true;
    }

    double now() const { return std::min(std::max(time_, low_), high_); }

    void renew() {
        boths_[0].run(now(), v_.data(), n_);
        boths_[0].results(jacobian_.data(), n_, entries_);
        fresh_ = true;
        factored_ = 0.0;
    }

    // Neither iteration finds the stages: with a new Jacobian, else with a shorter step.
    void fail() {
        if (!fresh_) {
            renew();
            return;
        }
        h_ /= 4;
        has_last_ = false;
        rejected_ = true;
    }

    // One step tried; false where none is short enough.
    bool attempt() {
        h_ = std::min(h_, run_.longest);
        if (time_ + h_ * (1 + 1e-9) >= end_)
            h_ = end_ - time_;
        else if (time_ + 2 * h_ > end_)
            h_ = (end_ - time_) / 2;
        if (!(h_ >= 16 * spacing(std::max(time_, end_ - start_))) || left_ <= 0 || !finite(jacobian_.data(), entries_))
            return false;
        --left_;
        if (factored_ != h_) {
            if (!factor_real(real_, jacobian_.data(), MU / h_) || !factor_complex(h_)) {
                fail();
                return true;
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
                fail();
                return true;
            }
        }
        for (int64_t k = 0; k < n_; ++k) {
            after_[k] = v_[k] + z_[2 * n_ + k];
            largest_[k] = std::max(largest_[k], std::fabs(after_[k]));
        }
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
        if (!(norm <= 1 && defect <= 1)) {
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

    bool factor_real(Factors<double>& factors, const double* jacobian, double shift) {
        for (int64_t k = 0; k < entries_; ++k) real_values_[k] = -jacobian[k];
        for (size_t k = entries_; k < real_values_.size(); ++k) real_values_[k] = 0.0;
        for (int64_t k = 0; k < states_; ++k) real_values_[diagonal_[k]] += shift;
        return factors.factor(real_values_.data());
    }

    bool factor_complex(double h) {
        for (int64_t k = 0; k < entries_; ++k) complex_values_[k] = Complex(-jacobian_[k]);
        for (size_t k = entries_; k < complex_values_.size(); ++k) complex_values_[k] = Complex();
        for (int64_t k = 0; k < states_; ++k) complex_values_[diagonal_[k]] += Complex(NU_REAL / h, NU_IMAGINARY / h);
        return complex_.factor(complex_values_.data());
    }

    void measure(const double* v) {
        for (int64_t k = 0; k < n_; ++k)
            scale_[k] = absolute_[k]
                        + run_.relative * std::max(std::max(largest_[k], std::fabs(v[k])), least_[k]);
        for (int64_t j = 0; j < run_.held_count; ++j) {
            const int64_t k = run_.held[j];
            const double room = ROUNDING * std::fabs(v[k]) + run_.relative * std::fabs(v[k] - run_.places[j]);
            scale_[k] = std::min(scale_[k], room + std::numeric_limits<double>::min());
            floor_[k] = 4 * std::numeric_limits<double>::epsilon() * std::fabs(v[k]);
        }
    }

    // A correction in units of the error allowed; of no more than rounding where that is all there is.
    double measured(double change, int64_t k) const {
        return std::fabs(change) <= floor_[k] ? 0.0 : std::fabs(change) / scale_[k];
    }

    double worst(const double* error) const {  // not a number if one is
        double found = 0.0;
        if (!states_) return finite(error, n_) ? 0.0 : std::numeric_limits<double>::infinity();
        for (int64_t k = 0; k < states_; ++k) {
            const double x = std::fabs(error[k]) / scale_[k];
            if (!(x <= found)) found = x;
            if (x != x) return x;
        }
        return found;
    }

    void round_off() {
        std::fill(rounding_.begin(), rounding_.end(), 0.0);
        for (int64_t k = 0; k < entries_; ++k)
            rounding_[rows_[k]] += ROUNDING * std::fabs(jacobian_[k]) * std::fabs(v_[columns_[k]]);
    }

    double defect_at_end() {
        for (int64_t k = 0; k < n_; ++k) {
            double sum = 0.0;
            if (k < states_)
                for (int i = 0; i < 3; ++i) sum += INVERSE[6 + i] / h_ * z_[i * n_ + k];
            right_[k] = at_end_[k] - sum;
        }
        if (!finite(at_end_.data(), n_) || !factor_real(ending_, there_.data(), INVERSE[8] / h_))
            return std::numeric_limits<double>::infinity();
        ending_.solve(right_.data());
        const double found = worst(right_.data());
        return std::isfinite(found) ? found / DEFECT : std::numeric_limits<double>::infinity();
    }

    // Simplified Newton for the three stages from what is in z_.
    bool simplified(const double* times, int& iterations, double& rate) {
        Vector &real = w_real_, &change = change_;
        real.assign(n_, 0.0);
        change.resize(3 * n_);
        w_complex_.assign(n_, Complex());
        for (int i = 0; i < 3; ++i)
            for (int64_t k = 0; k < n_; ++k) {
                real[k] += TO_REAL[i] * z_[i * n_ + k];
                w_complex_[k] += z_[i * n_ + k] * Complex(TO_COMPLEX_REAL[i], TO_COMPLEX_IMAGINARY[i]);
            }
        double before = std::numeric_limits<double>::infinity();
        rate = 0.0;
        for (int iteration = 1; iteration <= MOST_ITERATIONS; ++iteration) {
            iterations = iteration;
            for (int i = 0; i < 3; ++i) {
                for (int64_t k = 0; k < n_; ++k) trial_[k] = v_[k] + z_[i * n_ + k];
                stages_[i].run(times[i], trial_.data(), n_);
                stages_[i].results(&slopes_[i * n_], 0, n_);
            }
            if (!finite(slopes_.data(), 3 * n_)) return false;
            for (int64_t k = 0; k < n_; ++k) {
                double r = 0.0;
                Complex c;
                for (int i = 0; i < 3; ++i) {
                    const double f = slopes_[i * n_ + k];
                    r += TO_REAL[i] * f;
                    c += f * Complex(TO_COMPLEX_REAL[i], TO_COMPLEX_IMAGINARY[i]);
                }
                if (k < states_) {
                    r -= real[k] * (MU / h_);
                    c -= w_complex_[k] * Complex(NU_REAL / h_, NU_IMAGINARY / h_);
                }
                right_real_[k] = r;
                right_complex_[k] = c;
            }
            real_.solve(right_real_.data());
            complex_.solve(right_complex_.data());
            for (int64_t k = 0; k < n_; ++k) {
                real[k] += right_real_[k];
                w_complex_[k] += right_complex_[k];
            }
            bool held = true;
            for (int i = 0; i < 3; ++i)
                for (int64_t k = 0; k < n_; ++k) {
                    const Complex f(FROM_COMPLEX_REAL[i], FROM_COMPLEX_IMAGINARY[i]);
                    change[i * n_ + k] = FROM_REAL[i] * right_real_[k] + 2 * (f * right_complex_[k]).re;
                    z_[i * n_ + k] = FROM_REAL[i] * real[k] + 2 * (f * w_complex_[k]).re;
                    if (k >= states_ && !(std::fabs(slopes_[i * n_ + k]) <= rounding_[k])) held = false;
                }
            const double size = largest_change(change.data(), held ? states_ : n_);
            if (!std::isfinite(size)) return false;
            if (size == 0.0) return true;
            if (iteration > 1) {
                rate = size / before;
                if (rate >= 1 || std::pow(rate, MOST_ITERATIONS - iteration) / (1 - rate) * size > newton_)
                    return size <= newton_;
                if (rate / (1 - rate) * size < newton_) return true;
            } else if (size < 1e-3 * newton_)
                return true;
            before = size;
        }
        return false;
    }

    double largest_change(const double* change, int64_t count) const {
        double found = 0.0;
        for (int i = 0; i < 3; ++i)
            for (int64_t k = 0; k < count; ++k) {
                const double x = measured(change[i * n_ + k], k);
                if (x != x) return x;
                if (x > found) found = x;
            }
        return found;
    }

    // Newton's method with the Jacobian of every stage, for conductances that change by decades within a step.
    bool fully(const double* times, int& iterations, double& rate) {
        for (int iteration = 0; iteration < MOST_FULL_ITERATIONS; ++iteration) {
            for (int i = 0; i < 3; ++i) {
                for (int64_t k = 0; k < n_; ++k) trial_[k] = v_[k] + z_[i * n_ + k];
                boths_[1 + i].run(times[i], trial_.data(), n_);
                boths_[1 + i].results(&slopes_[i * n_], 0, n_);
                boths_[1 + i].results(&blocks_[i * entries_], n_, entries_);
            }
            if (!finite(slopes_.data(), 3 * n_) || !finite(blocks_.data(), 3 * entries_)) return false;
            std::fill(whole_values_.begin(), whole_values_.end(), 0.0);
            for (int64_t k = 0; k < 3 * entries_; ++k) whole_values_[k] = -blocks_[k];
            for (int64_t k = 0; k < states_; ++k)
                for (int p = 0; p < 9; ++p) whole_values_[coupling_[9 * k + p]] += INVERSE[p] / h_;
            if (!whole_.factor(whole_values_.data())) return false;
            for (int64_t k = 0; k < n_; ++k)
                for (int i = 0; i < 3; ++i) {
                    double sum = 0.0;
                    if (k < states_)
                        for (int j = 0; j < 3; ++j) sum += INVERSE[3 * i + j] / h_ * z_[j * n_ + k];
                    whole_right_[3 * k + i] = slopes_[i * n_ + k] - sum;
                }
            whole_.solve(whole_right_.data());
            double size = 0.0;
            for (int i = 0; i < 3; ++i)
                for (int64_t k = 0; k < n_; ++k) {
                    const double step = whole_right_[3 * k + i];
                    z_[i * n_ + k] += step;
                    size = std::max(size, measured(step, k));
                }
            if (!finite(z_.data(), 3 * n_)) return false;
            if (size < newton_) {
                iterations = std::min(iteration + 1, MOST_ITERATIONS);
                rate = 1.0;
                return true;
            }
        }
        return false;
    }

    // Damped Newton for the unknowns at `time`, the states as they are: netc.runtime.transient._algebraic.
    bool algebraic(double time) {
        const int64_t m = n_ - states_;
        Vector v = v_, trial(n_), f(n_), entries(entries_), weight(m), step(m), cancel(m), left(m);
        rates(time, v.data(), f.data());
        for (int turn = 0; turn < SETTLING; ++turn) {
            if (!finite(f.data() + states_, m)) return false;
            linearised(time, v.data(), f.data(), entries.data());
            std::fill(weight.begin(), weight.end(), 1e-300);
            std::fill(cancel.begin(), cancel.end(), 0.0);
            for (int64_t k = 0; k < entries_; ++k)
                if (rows_[k] >= states_) cancel[rows_[k] - states_] += std::fabs(entries[k]) * std::fabs(v[columns_[k]]);
            bool held = true;
            for (int64_t k = 0; k < m; ++k) held = held && std::fabs(f[states_ + k]) <= ROUNDING * cancel[k];
            if (held) break;
            for (size_t k = 0; k < some_.size(); ++k) {
                some_values_[k] = entries[some_[k]];
                double& w = weight[rows_[some_[k]] - states_];
                w = std::max(w, std::fabs(some_values_[k]));
            }
            if (!unknowns_.factor(some_values_.data())) return false;
            for (int64_t k = 0; k < m; ++k) {
                step[k] = -f[states_ + k];
                left[k] = std::fabs(step[k]);
            }
            unknowns_.solve(step.data());
            if (!finite(step.data(), m)) return false;
            bool small = true;
            bool stalled = true;
            for (int64_t k = 0; k < m; ++k) stalled = stalled && left[k] <= STALLED * cancel[k];
            double longest = 0.0, size = 0.0, damping = 1.0;
            for (int64_t k = 0; k < m; ++k) {
                small = small && std::fabs(step[k]) <= 1e-12 * std::fabs(v[states_ + k]) + 1e-15;
                longest = std::max(longest, std::fabs(step[k]));
                size = std::max(size, std::fabs(f[states_ + k]) / weight[k]);
            }
            if (small) break;
            for (;; damping /= 2) {
                if (damping <= 1e-6) {
                    if (size >= 1e-12) return false;
                    v_ = v;
                    return true;
                }
                trial = v;
                for (int64_t k = 0; k < m; ++k) trial[states_ + k] += damping * step[k];
                rates(time, trial.data(), f.data());
                if (!finite(f.data() + states_, m)) continue;
                double there = 0.0;
                for (int64_t k = 0; k < m; ++k) there = std::max(there, std::fabs(f[states_ + k]) / weight[k]);
                if (there <= (1 - 1e-4 * damping) * size || damping * longest < 1e-9) break;
                if (stalled) {
                    v_ = v;
                    return true;
                }
            }
            v = trial;
            if (turn + 1 == SETTLING) return false;
        }
        v_ = v;
        return true;
    }

    int64_t n_, states_, entries_;
    bool linear_;
    Machine rates_, stages_[3], boths_[4];
    std::vector<int64_t> rows_, columns_, diagonal_, some_, coupling_;
    Factors<double> real_, ending_, unknowns_, whole_;
    Factors<Complex> complex_;
    std::vector<Complex> complex_values_, right_complex_, w_complex_;
    Vector real_values_, some_values_, whole_values_, whole_right_;
    Vector v_, before_, slope_, at_end_, scale_, largest_, least_, absolute_, error_, rough_, again_, after_, rounding_;
    Vector trial_, right_, right_real_, z_, slopes_, polynomial_, guess_, jacobian_, there_, blocks_;
    Vector w_real_, change_, floor_;
    Watch watch_;
    Run run_{};
    double newton_ = 0, start_ = 0, end_ = 0, low_ = 0, high_ = 0, time_ = 0, h_ = 0, factored_ = 0;
    double before_error_ = 0, before_h_ = 0, last_start_ = 0, last_end_ = 0;
    int64_t left_ = 0, edge_ = 0, row_ = 0, pending_ = 0, steps_ = 0;
    bool inside_ = false, consistent_ = false, fresh_ = false, has_last_ = false, rejected_ = false;
};
