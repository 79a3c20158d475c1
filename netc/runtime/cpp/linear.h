// Linear systems, real or complex, factored anew whenever the numbers change; the pattern stays.
//
// Rows are scaled by their largest entry.  Few unknowns: Gauss with rows exchanged.  Many: columns one after the other
// in an order that fills in little (J. R. Gilbert and T. Peierls, SIAM J. Sci. Stat. Comput. 9, 862, 1988), the pivot on
// the diagonal unless another is much larger.  Pattern and order of pivots are used again while the pivots stay good.

struct Complex {
    double re, im;
    Complex(double r = 0.0, double i = 0.0) : re(r), im(i) {}
    Complex& operator+=(Complex o) { re += o.re; im += o.im; return *this; }
    Complex& operator-=(Complex o) { re -= o.re; im -= o.im; return *this; }
};
static inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
static inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
static inline Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
static inline Complex operator*(double a, Complex b) { return {a * b.re, a * b.im}; }
static inline Complex inverse(Complex a) {
    const double size = a.re * a.re + a.im * a.im;
    return {a.re / size, -a.im / size};
}
static inline double inverse(double a) { return 1.0 / a; }
static inline double magnitude(Complex a) { return std::fabs(a.re) + std::fabs(a.im); }
static inline double magnitude(double a) { return std::fabs(a); }

constexpr int64_t FEW = 24;             // unknowns of a system kept as a full matrix
constexpr double PREFERRED = 0.01;      // a pivot on the diagonal is kept above this share of the largest in its column
constexpr double STILL_GOOD = 1e-4;     // a pivot used again, above this

template <class T>
class Factors {
public:
    // rows and columns of the entries, each pair once; the order in which columns are taken
    void shape(int64_t size, const std::vector<int64_t>& rows, const std::vector<int64_t>& columns,
               const std::vector<int64_t>& order) {
        n_ = size;
        rows_ = rows;
        columns_ = columns;
        scale_.assign(n_, 1.0);
        work_.assign(n_, T(0.0));
        full_ = n_ <= FEW;
        if (full_) {
            matrix_.assign(n_ * n_, T(0.0));
            swapped_.assign(n_, 0);
            return;
        }
        order_ = order;
        start_.assign(n_ + 1, 0);
        for (int64_t c : columns_) ++start_[c + 1];
        for (int64_t k = 0; k < n_; ++k) start_[k + 1] += start_[k];
        place_.resize(rows_.size());
        std::vector<int64_t> next(start_.begin(), start_.end() - 1);
        for (size_t k = 0; k < rows_.size(); ++k) place_[next[columns_[k]]++] = k;
        planned_ = false;
        pivot_of_.assign(n_, -1);
        mark_.assign(n_, -1);
        path_.resize(n_);
        branch_.resize(n_);
    }

    // False for a matrix that is singular or not finite.
    bool factor(const T* values) {
        for (int64_t k = 0; k < n_; ++k) scale_[k] = 0.0;
        for (size_t k = 0; k < rows_.size(); ++k) {
            const double size = magnitude(values[k]);
            if (!(size <= std::numeric_limits<double>::max())) return good_ = false;
            if (size > scale_[rows_[k]]) scale_[rows_[k]] = size;
        }
        for (int64_t k = 0; k < n_; ++k) {
            if (scale_[k] == 0.0) return good_ = false;
            scale_[k] = 1.0 / scale_[k];
        }
        if (full_) return good_ = gauss(values);
        if (planned_ && repeat(values)) return good_ = true;
        return good_ = planned_ = plan(values);
    }

    bool good() const { return good_; }

    // Solves in place.
    void solve(T* b) {
        if (full_) {
            for (int64_t k = 0; k < n_; ++k) b[k] = scale_[k] * b[k];
            for (int64_t k = 0; k < n_; ++k) {
                std::swap(b[k], b[swapped_[k]]);
                const T x = b[k];
                for (int64_t i = k + 1; i < n_; ++i) b[i] -= matrix_[k * n_ + i] * x;
            }
            for (int64_t k = n_ - 1; k >= 0; --k) {
                const T x = b[k] * matrix_[k * n_ + k];  // the diagonal holds its inverse
                b[k] = x;
                for (int64_t i = 0; i < k; ++i) b[i] -= matrix_[k * n_ + i] * x;
            }
            return;
        }
        T* const y = work_.data();
        for (int64_t r = 0; r < n_; ++r) y[pivot_of_[r]] = scale_[r] * b[r];
        for (int64_t k = 0; k < n_; ++k) {
            const T x = y[k];
            for (int64_t p = lower_start_[k]; p < lower_start_[k + 1]; ++p) y[pivot_of_[lower_row_[p]]] -= lower_[p] * x;
        }
        for (int64_t k = n_ - 1; k >= 0; --k) {
            const T x = y[k] * inverse_[k];
            y[k] = x;
            for (int64_t p = upper_start_[k]; p < upper_start_[k + 1]; ++p) y[upper_row_[p]] -= upper_[p] * x;
        }
        for (int64_t k = 0; k < n_; ++k) b[order_[k]] = y[k];
        std::fill(work_.begin(), work_.end(), T(0.0));
    }

private:
    bool gauss(const T* values) {  // by columns
        std::fill(matrix_.begin(), matrix_.end(), T(0.0));
        for (size_t k = 0; k < rows_.size(); ++k)
            matrix_[columns_[k] * n_ + rows_[k]] += scale_[rows_[k]] * values[k];
        for (int64_t k = 0; k < n_; ++k) {
            T* const column = &matrix_[k * n_];
            int64_t best = k;
            for (int64_t i = k + 1; i < n_; ++i)
                if (magnitude(column[i]) > magnitude(column[best])) best = i;
            swapped_[k] = best;
            if (!(magnitude(column[best]) > 0.0)) return false;
            if (best != k)
                for (int64_t j = k; j < n_; ++j) std::swap(matrix_[j * n_ + k], matrix_[j * n_ + best]);
            const T scale = inverse(column[k]);
            column[k] = scale;
            for (int64_t i = k + 1; i < n_; ++i) column[i] = column[i] * scale;
            for (int64_t j = k + 1; j < n_; ++j) {
                const T x = matrix_[j * n_ + k];
                if (magnitude(x) == 0.0) continue;
                T* const other = &matrix_[j * n_];
                for (int64_t i = k + 1; i < n_; ++i) other[i] -= column[i] * x;
            }
        }
        return true;
    }

    // Depth first from a row through the columns of the lower factor; rows come out after all they lead to.
    void reach(int64_t row, int64_t stamp) {
        int64_t depth = 0;
        path_[0] = row;
        mark_[row] = stamp;
        branch_[0] = pivot_of_[row] < 0 ? 0 : lower_start_[pivot_of_[row]];
        while (depth >= 0) {
            const int64_t here = path_[depth], column = pivot_of_[here];
            bool deeper = false;
            if (column >= 0) {
                for (int64_t& p = branch_[depth]; p < lower_start_[column + 1];) {
                    const int64_t next = lower_row_[p++];
                    if (mark_[next] != stamp) {
                        mark_[next] = stamp;
                        path_[++depth] = next;
                        branch_[depth] = pivot_of_[next] < 0 ? 0 : lower_start_[pivot_of_[next]];
                        deeper = true;
                        break;
                    }
                }
            }
            if (!deeper) {
                found_.push_back(here);
                --depth;
            }
        }
    }

    bool plan(const T* values) {
        std::fill(pivot_of_.begin(), pivot_of_.end(), -1);
        std::fill(mark_.begin(), mark_.end(), -1);
        std::fill(work_.begin(), work_.end(), T(0.0));
        lower_start_.assign(1, 0);
        upper_start_.assign(1, 0);
        lower_row_.clear();
        upper_row_.clear();
        lower_.clear();
        upper_.clear();
        inverse_.assign(n_, T(0.0));
        pivot_.assign(n_, 0);
        for (int64_t k = 0; k < n_; ++k) {
            const int64_t column = order_[k];
            found_.clear();
            for (int64_t p = start_[column]; p < start_[column + 1]; ++p)
                if (mark_[rows_[place_[p]]] != k) reach(rows_[place_[p]], k);
            for (int64_t p = start_[column]; p < start_[column + 1]; ++p)
                work_[rows_[place_[p]]] += scale_[rows_[place_[p]]] * values[place_[p]];
            double largest = 0.0;
            int64_t best = -1;
            for (auto at = found_.rbegin(); at != found_.rend(); ++at) {
                const int64_t row = *at, done = pivot_of_[row];
                if (done >= 0) {
                    const T x = work_[row];
                    upper_row_.push_back(done);
                    upper_.push_back(x);
                    for (int64_t p = lower_start_[done]; p < lower_start_[done + 1]; ++p)
                        work_[lower_row_[p]] -= lower_[p] * x;
                }
            }
            for (const int64_t row : found_)
                if (pivot_of_[row] < 0 && magnitude(work_[row]) > largest) {
                    largest = magnitude(work_[row]);
                    best = row;
                }
            if (best < 0 || !(largest <= std::numeric_limits<double>::max())) return false;
            if (pivot_of_[column] < 0 && mark_[column] == k && magnitude(work_[column]) >= PREFERRED * largest)
                best = column;
            pivot_of_[best] = k;
            pivot_[k] = best;
            inverse_[k] = inverse(work_[best]);
            for (const int64_t row : found_) {
                if (pivot_of_[row] < 0) {
                    lower_row_.push_back(row);
                    lower_.push_back(work_[row] * inverse_[k]);
                }
                work_[row] = T(0.0);
            }
            lower_start_.push_back(lower_row_.size());
            upper_start_.push_back(upper_row_.size());
        }
        return true;
    }

    bool repeat(const T* values) {
        for (int64_t k = 0; k < n_; ++k) {
            const int64_t column = order_[k];
            for (int64_t p = start_[column]; p < start_[column + 1]; ++p)
                work_[rows_[place_[p]]] += scale_[rows_[place_[p]]] * values[place_[p]];
            for (int64_t p = upper_start_[k]; p < upper_start_[k + 1]; ++p) {
                const int64_t done = upper_row_[p], row = pivot_[done];
                const T x = work_[row];
                work_[row] = T(0.0);
                upper_[p] = x;
                for (int64_t q = lower_start_[done]; q < lower_start_[done + 1]; ++q)
                    work_[lower_row_[q]] -= lower_[q] * x;
            }
            const T pivot = work_[pivot_[k]];
            work_[pivot_[k]] = T(0.0);
            double largest = magnitude(pivot);
            inverse_[k] = inverse(pivot);
            for (int64_t p = lower_start_[k]; p < lower_start_[k + 1]; ++p) {
                const T x = work_[lower_row_[p]];
                work_[lower_row_[p]] = T(0.0);
                largest = std::max(largest, magnitude(x));
                lower_[p] = x * inverse_[k];
            }
            if (!(magnitude(pivot) > STILL_GOOD * largest)) return false;
        }
        return true;
    }

    int64_t n_ = 0;
    bool full_ = true, planned_ = false, good_ = false;
    std::vector<int64_t> rows_, columns_, order_, start_, place_, pivot_of_, pivot_, mark_, path_, branch_, found_;
    std::vector<int64_t> swapped_, lower_start_, upper_start_, lower_row_, upper_row_;
    std::vector<double> scale_;
    std::vector<T> matrix_, work_, lower_, upper_, inverse_;
};
