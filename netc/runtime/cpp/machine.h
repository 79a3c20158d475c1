// A tape of operations on single numbers, and what runs it.

struct Tape {  // as netc.runtime.tape gives it
    int64_t count, timed, slots, results;
    const int32_t* code;  // operation, target, three operands
    const double* image;
    const int32_t* roots;
    const double* points;
    const int64_t* starts;
};

static inline double interpolated(double x, const double* xs, int64_t count) {
    const double* ys = xs + count;
    if (x != x) return x;
    if (x >= xs[count - 1]) return ys[count - 1];
    if (x < xs[0]) return ys[0];
    const int64_t right = std::upper_bound(xs, xs + count, x) - xs, left = right - 1;
    return ys[left] + (x - xs[left]) * ((ys[right] - ys[left]) / (xs[right] - xs[left]));
}

static inline double lesser(double a, double b) { return a <= b || a != a ? a : b; }
static inline double greater(double a, double b) { return a >= b || a != a ? a : b; }

static inline double logistic(double x) {
    const double small = std::exp(-std::fabs(x));
    return (x >= 0 ? 1.0 : small) / (1.0 + small);
}

class Machine {
public:
    void load(const Tape& tape) {
        tape_ = tape;
        memory_.assign(tape.image, tape.image + tape.slots);
        time_ = std::numeric_limits<double>::quiet_NaN();
    }

    // Results follow from the time and the variables; what depends on the time alone is kept for the next call.
    void run(double time, const double* variables, int64_t count) {
        double* const m = memory_.data();
        const int64_t first = time == time_ ? tape_.timed : 0;
        m[0] = time_ = time;
        std::memcpy(m + 1, variables, sizeof(double) * count);
        const int32_t* line = tape_.code + 5 * first;
        const int32_t* const end = tape_.code + 5 * tape_.count;
        for (; line != end; line += 5) {
            const double a = m[line[2]];
            double& to = m[line[1]];
            switch (line[0]) {
                case OP_neg: to = -a; break;
                case OP_exp: to = std::exp(a); break;
                case OP_log: to = std::log(a); break;
                case OP_sqrt: to = std::sqrt(a); break;
                case OP_abs: to = std::fabs(a); break;
                case OP_sin: to = std::sin(a); break;
                case OP_cos: to = std::cos(a); break;
                case OP_tan: to = std::tan(a); break;
                case OP_asin: to = std::asin(a); break;
                case OP_acos: to = std::acos(a); break;
                case OP_atan: to = std::atan(a); break;
                case OP_sinh: to = std::sinh(a); break;
                case OP_cosh: to = std::cosh(a); break;
                case OP_tanh: to = std::tanh(a); break;
                case OP_asinh: to = std::asinh(a); break;
                case OP_acosh: to = std::acosh(a); break;
                case OP_atanh: to = std::atanh(a); break;
                case OP_floor: to = std::floor(a); break;
                case OP_ceil: to = std::ceil(a); break;
                case OP_round: to = std::nearbyint(a); break;
                case OP_sign: to = a > 0 ? 1.0 : a < 0 ? -1.0 : a == 0 ? 0.0 : a; break;
                case OP_sigmoid: to = logistic(a); break;
                case OP_not: to = a == 0 ? 1.0 : 0.0; break;
                case OP_add: to = a + m[line[3]]; break;
                case OP_sub: to = a - m[line[3]]; break;
                case OP_mul: to = a * m[line[3]]; break;
                case OP_div: to = a / m[line[3]]; break;
                case OP_pow: to = std::pow(a, m[line[3]]); break;
                case OP_min: to = lesser(a, m[line[3]]); break;
                case OP_max: to = greater(a, m[line[3]]); break;
                case OP_lt: to = a < m[line[3]] ? 1.0 : 0.0; break;
                case OP_le: to = a <= m[line[3]] ? 1.0 : 0.0; break;
                case OP_gt: to = a > m[line[3]] ? 1.0 : 0.0; break;
                case OP_ge: to = a >= m[line[3]] ? 1.0 : 0.0; break;
                case OP_eq: to = a == m[line[3]] ? 1.0 : 0.0; break;
                case OP_ne: to = a != m[line[3]] ? 1.0 : 0.0; break;
                case OP_and: to = a != 0 && m[line[3]] != 0 ? 1.0 : 0.0; break;
                case OP_or: to = a != 0 || m[line[3]] != 0 ? 1.0 : 0.0; break;
                case OP_select: to = a != 0 ? m[line[3]] : m[line[4]]; break;
                case OP_interpolate: {
                    const int64_t from = tape_.starts[line[3]], to_end = tape_.starts[line[3] + 1];
                    to = interpolated(a, tape_.points + from, (to_end - from) / 2);
                    break;
                }
            }
        }
    }

    double result(int64_t number) const { return memory_[tape_.roots[number]]; }

    void results(double* to, int64_t first, int64_t count) const {
        for (int64_t k = 0; k < count; ++k) to[k] = memory_[tape_.roots[first + k]];
    }

private:
    Tape tape_{};
    std::vector<double> memory_;
    double time_ = 0;
};
