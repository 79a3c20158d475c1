// The equations of one step of netc.runtime.radau.Radau, and of the unknowns at an instant, and how they are solved.

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
    double time, end;
    int64_t steps, left;
};

enum Status { DONE, FULL, PAUSED, STUCK, INCONSISTENT };

using Vector = std::vector<double>;

static inline bool finite(const double* x, int64_t count) {
    for (int64_t k = 0; k < count; ++k)
        if (!(std::fabs(x[k]) <= std::numeric_limits<double>::max())) return false;
    return true;
}

static inline double spacing(double x) { return std::nextafter(x, std::numeric_limits<double>::infinity()) - x; }

class Equations {
public:
    void rates(double time, const double* v, double* to) {
        rates_.run(time, v, n_);
        rates_.results(to, 0, n_);
    }

    void linearised(double time, const double* v, double* to, double* entries) {
        boths_[0].run(time, v, n_);
        boths_[0].results(to, 0, n_);
        boths_[0].results(entries, n_, entries_);
    }

protected:
    explicit Equations(const Setup& s) : n_(s.size), states_(s.states), entries_(s.entries), linear_(s.linear != 0) {
        rates_.load(s.rates);
        for (Machine& stage : stages_) stage.load(s.rates);
        for (Machine& both : boths_) both.load(s.both);
        rows_.assign(s.rows, s.rows + entries_);
        columns_.assign(s.columns, s.columns + entries_);
        const std::vector<int64_t> order(s.order, s.order + n_);
        shape(order);
        for (Vector* x : {&v_, &at_end_, &scale_, &largest_, &least_, &absolute_, &rounding_, &trial_, &right_, &right_real_,
                          &floor_, &cancel_})
            x->assign(n_, 0.0);
        for (Vector* x : {&z_, &slopes_}) x->assign(3 * n_, 0.0);
        right_complex_.assign(n_, Complex());
        jacobian_.assign(entries_, 0.0);
        there_.assign(entries_, 0.0);
        blocks_.assign(3 * entries_, 0.0);
    }

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

    // Whether the equations of the unknowns hold at trial_ but for what is left when large terms cancel.
    bool only_rounding(const double* slopes, const double* jacobian) {
        std::fill(cancel_.begin(), cancel_.end(), 0.0);
        for (int64_t k = 0; k < entries_; ++k)
            cancel_[rows_[k]] += std::fabs(jacobian[k]) * std::fabs(trial_[columns_[k]]);
        for (int64_t k = states_; k < n_; ++k)
            if (!(std::fabs(slopes[k]) <= ROUNDING * cancel_[k])) return false;
        return true;
    }

    // Newton's method with the Jacobian of every stage, for conductances that change by decades within a step.
    bool fully(const double* times, int& iterations, double& rate) {
        for (int iteration = 0; iteration < MOST_FULL_ITERATIONS; ++iteration) {
            bool held = true;
            for (int i = 0; i < 3; ++i) {
                for (int64_t k = 0; k < n_; ++k) trial_[k] = v_[k] + z_[i * n_ + k];
                boths_[1 + i].run(times[i], trial_.data(), n_);
                boths_[1 + i].results(&slopes_[i * n_], 0, n_);
                boths_[1 + i].results(&blocks_[i * entries_], n_, entries_);
                held = held && only_rounding(&slopes_[i * n_], &blocks_[i * entries_]);
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
                    if (k < states_ || !held) size = std::max(size, measured(step, k));
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
                // an equation that holds but for rounding does not stand in the way of another
                size = std::max(size, (left[k] - ROUNDING * cancel[k]) / weight[k]);
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
                for (int64_t k = 0; k < m; ++k)
                    there = std::max(there, (std::fabs(f[states_ + k]) - ROUNDING * cancel[k]) / weight[k]);
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
    Vector v_, at_end_, scale_, largest_, least_, absolute_, rounding_, trial_, right_, right_real_, floor_, cancel_;
    Vector z_, slopes_, jacobian_, there_, blocks_, w_real_, change_;
    Run run_{};
    double newton_ = 0, h_ = 0;
};
