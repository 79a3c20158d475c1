// The yardstick of `netc bench`: one training step of one network, features-HIDDEN-CLASSES of MIF neurons, by hand.
//
// What a specialist would write for this circuit alone; nothing here is generated and netc uses none of it.
// A vector holds one neuron of a tile of W samples.  Neurons of a layer do not read each other, so BLOCK of them run
// through SEGMENT steps with their states in registers.  Time runs forward once, keeping the states every SEGMENT steps and
// the currents into the output layer; then, last segment first, each block runs again, keeping its Jacobians, and its
// adjoint runs backward while they are in the L1 cache.  Loss and coupling are inside.  The product of the
// inputs with the first crossbar and its adjoint are left to the caller: they happen once, not every step.
//
// One neuron, all terms times dt (u = exp(V / VT); the four logistic functions are rational in u):
//   V'  = V + current - (V - E1) (g + d x1) + (E2 - V) (g + d x2)
//   x1' = P1 + x1 M1,  P1 = b u / (u + on1),   Q1 = b k u / (u + off1),    M1 = 1 - b - P1 + Q1
//   x2' = P2 + x2 M2,  P2 = b on2 / (u + on2), Q2 = b k off2 / (u + off2), M2 = 1 - b - P2 + Q2
// V must stay within +-1 V, where u^2 does not overflow at VT = 25 mV; voltages of this network do.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>
#if defined(__AVX512F__)
#include <immintrin.h>
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
#ifndef HIDDEN
#define HIDDEN 100
#endif
#ifndef CLASSES
#define CLASSES 10
#endif
#ifndef SEGMENT
#define SEGMENT 16
#endif
#ifndef BLOCK
#define BLOCK 5
#endif

typedef float V __attribute__((vector_size(BYTES)));
typedef std::int32_t M __attribute__((vector_size(BYTES)));
typedef std::ptrdiff_t Size;
constexpr int W = BYTES / 4;
#define INLINE static inline __attribute__((always_inline))

INLINE V splat(float x) { return x - V{}; }

INLINE V reciprocal(V x) {
#if defined(__AVX512F__)
    const V r = (V)_mm512_rcp14_ps((__m512)x);
    return r + r * (splat(1) - x * r);
#else
    return splat(1) / x;
#endif
}

// 2^(x scale) to 2 units in the last place, for |x scale| < 126
INLINE V exponential(V x, float scale) {
    const V magic = splat(12582912.0f);
    const V shifted = x * splat(scale) + magic;
    const V r = x * splat(scale) - (shifted - magic);
    V p = splat(1.32187e-3f);
    p = p * r + splat(9.6717e-3f);
    p = p * r + splat(5.550893e-2f);
    p = p * r + splat(2.4022238e-1f);
    p = p * r + splat(6.9314686e-1f);
    p = p * r + splat(1.0f);
    return (V)((M)p + ((M)shifted << 23));
}

struct Constants {
    float scale;                  // log2(e) / VT
    float leak, rest, d, e1, e2;  // 1 - 2 g, g (E1 + E2), d, E1, E2
    float b, k, vt;
    float on1, off1, on2, off2;
};

struct Arguments {
    Size batch, steps, threads;
    const float* current;   // (batch, HIDDEN), times dt / C
    const float* wave;      // (steps)
    const float* coupling;  // (HIDDEN, CLASSES), times dt / C
    const std::int64_t* labels;
    Constants hidden, output;
    float logit_scale;
    float* current_gradient;   // (batch, HIDDEN)
    float* coupling_gradient;  // (HIDDEN, CLASSES)
    char* scratch;
    double loss;
};

struct Neuron {
    V v, x1, x2;
};
struct Jacobian {
    V v, dv, d1, d2, m1, m2;
};
struct State {
    Neuron hidden[HIDDEN], output[CLASSES];
};

// one neuron, one step
template <bool KEEP> INLINE void step(Neuron& n, V current, const Constants& c, Jacobian* kept) {
    const V v = n.v, x1 = n.x1, x2 = n.x2;
    const V u = exponential(v, c.scale);
    const V y1 = v * splat(c.d) - splat(c.d * c.e1), y2 = splat(c.d * c.e2) - v * splat(c.d);
    n.v = v * splat(c.leak) + current - y1 * x1 + y2 * x2;
    const V a1 = u + splat(c.on1), b1 = u + splat(c.off1), a2 = u + splat(c.on2), b2 = u + splat(c.off2);
    const V r1 = reciprocal(a1 * b1), r2 = reciprocal(a2 * b2);
    if constexpr (!KEEP) {
        const V s = u * r1 * splat(c.b);
        const V m1 = splat(1 - c.b) - s * (u * splat(1 - c.k) + splat(c.off1 - c.k * c.on1));
        const float bend = c.b * (c.on2 - c.k * c.off2), level = c.b * c.on2 * c.off2 * (1 - c.k);
        const V m2 = splat(1 - c.b) - r2 * (u * splat(bend) + splat(level));
        n.x1 = s * b1 + x1 * m1;
        n.x2 = r2 * (u * splat(c.b * c.on2) + splat(c.b * c.on2 * c.off2)) + x2 * m2;
    } else {
        const V ra1 = r1 * b1, rb1 = r1 * a1, ra2 = r2 * b2, rb2 = r2 * a2;
        const V s = u * splat(c.b), t = u * splat(-1 / c.vt);
        const V p1 = s * ra1, q1 = s * rb1 * splat(c.k);
        const V p2 = ra2 * splat(c.b * c.on2), q2 = rb2 * splat(c.b * c.k * c.off2);
        const V m1 = splat(1 - c.b) - p1 + q1, m2 = splat(1 - c.b) - p2 + q2;
        const V dp1 = p1 * ra1 * splat(c.on1 / c.vt), dq1 = q1 * rb1 * splat(c.off1 / c.vt);
        const V dp2 = p2 * ra2 * t, dq2 = q2 * rb2 * t;
        n.x1 = p1 + x1 * m1;
        n.x2 = p2 + x2 * m2;
        kept->v = v;
        kept->dv = splat(c.leak) - splat(c.d) * (x1 + x2);
        kept->d1 = dp1 + x1 * (dq1 - dp1);
        kept->d2 = dp2 + x2 * (dq2 - dp2);
        kept->m1 = m1;
        kept->m2 = m2;
    }
}

// adjoint of one neuron: (av, a1, a2) of the next step become those of this one
INLINE void step_back(Neuron& n, V more, const Constants& c, const Jacobian& j) {
    const V av = n.v, a1 = n.x1, a2 = n.x2;
    const V y1 = j.v * splat(c.d) - splat(c.d * c.e1), y2 = splat(c.d * c.e2) - j.v * splat(c.d);
    n.v = more + av * j.dv + a1 * j.d1 + a2 * j.d2;
    n.x1 = a1 * j.m1 - av * y1;
    n.x2 = a2 * j.m2 + av * y2;
}

struct Scratch {
    V current[HIDDEN], gradient[HIDDEN], hot[CLASSES], seeds[SEGMENT * CLASSES], ahead[SEGMENT * CLASSES];
    V coupling_gradient[HIDDEN * CLASSES];
    Jacobian hidden[SEGMENT * BLOCK], output[SEGMENT * CLASSES];
    State now, adjoint;
};
static Size segments(Size steps) { return (steps + SEGMENT - 1) / SEGMENT; }
static Size kept_currents(Size steps) { return sizeof(Scratch) + sizeof(State) * segments(steps); }
extern "C" Size scratch_bytes(Size steps) {
    return (kept_currents(steps) + sizeof(V) * CLASSES * SEGMENT * segments(steps) + 4095) / 4096 * 4096;
}

// N hidden neurons from the i-th on, through some steps; adds what they drive into the output layer
template <int N> static void hidden_forward(const Arguments& a, Scratch& x, int i, const float* wave, Size count, V* into) {
    const Constants c = a.hidden;
    Neuron n[N];
    V current[N];
    for (int k = 0; k < N; ++k) n[k] = x.now.hidden[i + k], current[k] = x.current[i + k];
    for (Size t = 0; t < count; ++t) {
        V sum[CLASSES];
        for (int j = 0; j < CLASSES; ++j) sum[j] = into[t * CLASSES + j];
        const V level = splat(wave[t]), rest = splat(c.rest);
#pragma GCC unroll 16
        for (int k = 0; k < N; ++k) {
            const float* w = a.coupling + (i + k) * CLASSES;
#pragma GCC unroll 32
            for (int j = 0; j < CLASSES; ++j) sum[j] += n[k].v * splat(w[j]);
        }
        for (int j = 0; j < CLASSES; ++j) into[t * CLASSES + j] = sum[j];
#pragma GCC unroll 16
        for (int k = 0; k < N; ++k) step<false>(n[k], current[k] * level + rest, c, nullptr);
    }
    for (int k = 0; k < N; ++k) x.now.hidden[i + k] = n[k];
}

// the same neurons again, then their adjoint
template <int N> static void hidden_backward(const Arguments& a, Scratch& x, const State& start, int i, const float* wave, Size count) {
    const Constants c = a.hidden;
    {
        Neuron n[N];
        V current[N];
        for (int k = 0; k < N; ++k) n[k] = start.hidden[i + k], current[k] = x.current[i + k];
        for (Size t = 0; t < count; ++t) {
            const V level = splat(wave[t]), rest = splat(c.rest);
#pragma GCC unroll 16
            for (int k = 0; k < N; ++k) step<true>(n[k], current[k] * level + rest, c, x.hidden + t * N + k);
        }
    }
    Neuron n[N];
    V gradient[N];
    for (int k = 0; k < N; ++k) n[k] = x.adjoint.hidden[i + k], gradient[k] = x.gradient[i + k];
    for (Size t = count - 1; t >= 0; --t) {
        const V level = splat(wave[t]);
        const V* b = x.ahead + t * CLASSES;
#pragma GCC unroll 16
        for (int k = 0; k < N; ++k) {
            const float* w = a.coupling + (i + k) * CLASSES;
            V one = b[0] * splat(w[0]), two{};
#pragma GCC unroll 32
            for (int j = 1; j < CLASSES; ++j) (j % 2 ? two : one) += b[j] * splat(w[j]);
            gradient[k] += n[k].v * level;
            step_back(n[k], one + two, c, x.hidden[t * N + k]);
        }
    }
    for (int k = 0; k < N; ++k) x.adjoint.hidden[i + k] = n[k], x.gradient[i + k] = gradient[k];
    // gradient of the coupling, half of the classes at a time: as many sums as there are registers
    constexpr int HALF = (CLASSES + 1) / 2;
    for (int first = 0; first < CLASSES; first += HALF) {
        V sum[N][HALF];
        V* g = x.coupling_gradient + i * CLASSES;
        for (int k = 0; k < N; ++k)
            for (int j = 0; j < HALF; ++j) sum[k][j] = first + j < CLASSES ? g[k * CLASSES + first + j] : V{};
        for (Size t = 0; t < count; ++t)
#pragma GCC unroll 16
            for (int k = 0; k < N; ++k)
#pragma GCC unroll 16
                for (int j = 0; j < HALF; ++j)
                    sum[k][j] += x.hidden[t * N + k].v * x.ahead[t * CLASSES + (first + j < CLASSES ? first + j : 0)];
        for (int k = 0; k < N; ++k)
            for (int j = 0; j < HALF && first + j < CLASSES; ++j) g[k * CLASSES + first + j] = sum[k][j];
    }
}

// softmax at the output: seeds of the adjoint, and the sum of exponentials
INLINE V softmax(const State& s, const Scratch& x, float logit_scale, float weight, V* seeds, V& chosen) {
    V largest = s.output[0].v, e[CLASSES], sum{};
    for (int j = 1; j < CLASSES; ++j) largest = s.output[j].v > largest ? s.output[j].v : largest;
    for (int j = 0; j < CLASSES; ++j) {
        const V z = s.output[j].v - largest;
        V y = z * splat(logit_scale);
        y = y < splat(-80) ? splat(-80) : y;
        e[j] = exponential(y, 1.44269504f);
        sum += e[j];
        chosen += x.hot[j] * z;
    }
    const V inverse = reciprocal(sum);
    for (int j = 0; j < CLASSES; ++j) seeds[j] = (e[j] * inverse - x.hot[j]) * splat(weight * logit_scale);
    return sum;
}

static double tile(const Arguments& a, Scratch& x, Size first) {
    const Size live = a.batch - first < W ? a.batch - first : W;
    const float weight = 1.0f / (float(a.batch) * float(a.steps));
    const Constants o = a.output;
    State* const kept = reinterpret_cast<State*>(reinterpret_cast<char*>(&x) + sizeof(Scratch));
    V* const currents = reinterpret_cast<V*>(reinterpret_cast<char*>(&x) + kept_currents(a.steps));
    for (int j = 0; j < CLASSES; ++j) x.hot[j] = V{};
    for (Size w = 0; w < W; ++w) {
        const Size row = first + (w < live ? w : live - 1);
        for (int i = 0; i < HIDDEN; ++i) x.current[i][w] = a.current[row * HIDDEN + i];
        x.hot[a.labels[row]][w] = 1;
    }
    V weights{};  // samples beyond the batch count for nothing
    for (Size w = 0; w < live; ++w) weights[w] = 1;
    std::memset(&x.now, 0, sizeof(State));
    std::memset(&x.adjoint, 0, sizeof(State));
    for (int i = 0; i < HIDDEN; ++i) x.gradient[i] = V{};

    const Size last = segments(a.steps) - 1;
    const auto length = [&](Size k) { return k < last ? Size(SEGMENT) : a.steps - last * SEGMENT; };
    for (Size k = 0; k <= last; ++k) {
        kept[k] = x.now;
        V* const into = currents + k * SEGMENT * CLASSES;
        const Size count = length(k);
        for (Size m = 0; m < count * CLASSES; ++m) into[m] = splat(o.rest);
        int i = 0;
        for (; i + BLOCK <= HIDDEN; i += BLOCK) hidden_forward<BLOCK>(a, x, i, a.wave + k * SEGMENT, count, into);
        for (; i < HIDDEN; ++i) hidden_forward<1>(a, x, i, a.wave + k * SEGMENT, count, into);
        if (k < last)
            for (Size t = 0; t < count; ++t)
                for (int j = 0; j < CLASSES; ++j) step<false>(x.now.output[j], into[t * CLASSES + j], o, nullptr);
    }
    double loss = 0;
    for (Size k = last; k >= 0; --k) {
        const Size count = length(k);
        const V* const into = currents + k * SEGMENT * CLASSES;
        std::memcpy(x.now.output, kept[k].output, sizeof(x.now.output));
        V chosen{}, product = splat(1);
        for (Size t = 0; t < count; ++t) {
            for (int j = 0; j < CLASSES; ++j)
                step<true>(x.now.output[j], into[t * CLASSES + j], o, x.output + t * CLASSES + j);
            product *= softmax(x.now, x, a.logit_scale, weight, x.seeds + t * CLASSES, chosen);
            if (t % 8 == 7 || t + 1 == count) {  // one logarithm for eight sums: each is at most CLASSES
                for (Size w = 0; w < live; ++w) loss += std::log(double(product[w]));
                product = splat(1);
            }
        }
        for (Size w = 0; w < live; ++w) loss -= double(chosen[w]) * a.logit_scale;
        for (Size t = count - 1; t >= 0; --t)
            for (int j = 0; j < CLASSES; ++j) {
                Neuron& n = x.adjoint.output[j];
                x.ahead[t * CLASSES + j] = n.v += x.seeds[t * CLASSES + j] * weights;
                step_back(n, V{}, o, x.output[t * CLASSES + j]);
            }
        int i = 0;
        for (; i + BLOCK <= HIDDEN; i += BLOCK) hidden_backward<BLOCK>(a, x, kept[k], i, a.wave + k * SEGMENT, count);
        for (; i < HIDDEN; ++i) hidden_backward<1>(a, x, kept[k], i, a.wave + k * SEGMENT, count);
    }
    for (Size w = 0; w < live; ++w)
        for (int i = 0; i < HIDDEN; ++i) a.current_gradient[(first + w) * HIDDEN + i] = x.gradient[i][w];
    return loss;
}

extern "C" void train(Arguments* a) {
    const Size tiles = (a->batch + W - 1) / W, parts = a->threads < tiles ? a->threads : tiles;
    const Size bytes = scratch_bytes(a->steps);
    std::vector<double> losses(parts, 0.0);
    const auto work = [&](Size part) {
        Scratch& x = *reinterpret_cast<Scratch*>(a->scratch + part * bytes);
        std::memset(x.coupling_gradient, 0, sizeof(x.coupling_gradient));
        for (Size k = part * tiles / parts; k < (part + 1) * tiles / parts; ++k) losses[part] += tile(*a, x, k * W);
    };
    std::vector<std::thread> threads;
    for (Size part = 1; part < parts; ++part) threads.emplace_back(work, part);
    work(0);
    for (std::thread& thread : threads) thread.join();
    a->loss = 0;
    for (double loss : losses) a->loss += loss / (double(a->batch) * double(a->steps));
    for (int i = 0; i < HIDDEN * CLASSES; ++i) {
        double sum = 0;
        for (Size part = 0; part < parts; ++part)
            for (int w = 0; w < W; ++w) sum += reinterpret_cast<Scratch*>(a->scratch + part * bytes)->coupling_gradient[i][w];
        a->coupling_gradient[i] = float(sum);
    }
}
