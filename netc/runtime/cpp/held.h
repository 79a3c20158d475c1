// netc.runtime.held.Watch: states that stay where their rate vanishes while the least error would grow.

struct Held {
    int64_t state, lost;
    double place, distance, growth;
};

class Watch {
public:
    void begin(int64_t states) {
        grown_.assign(states, 0.0);
        anchor_.assign(states, 0.0);
        slope_.assign(states, 0.0);
        found_.clear();
    }

    void restart(const double* v) {
        std::copy(v, v + anchor_.size(), anchor_.begin());
        std::fill(slope_.begin(), slope_.end(), 0.0);
    }

    // After a step of `h` to `v`, where the rate of state `k` is `rate`, and `slope` its derivative by the state.
    void step(int64_t k, double h, double v, double rate, double slope, double largest) {
        const double grown = grown_[k] + 0.5 * h * (slope + slope_[k]);
        slope_[k] = slope;
        if (!(grown > 0) || !(std::fabs(v - anchor_[k]) <= HELD_WITHIN * largest)) {
            grown_[k] = 0.0;
            anchor_[k] = v;
            return;
        }
        grown_[k] = grown;
        if (grown > HELD_GROWTH && slope > 0 && std::fabs(rate / slope) <= HELD_WITHIN * largest)
            note(k, v - rate / slope, std::fabs(rate / slope), HELD_WITHIN * largest);
    }

    const std::vector<Held>& found() const { return found_; }

private:
    void note(int64_t k, double place, double distance, double near) {
        const double grown = grown_[k];
        if (std::fabs(place) <= HELD_ZERO * distance) place = 0.0;
        const double decides = distance * std::exp(-grown);
        for (Held& known : found_)
            if (known.state == k && std::fabs(known.place - place) <= near) {
                if (distance < known.distance) {
                    known.place = place;
                    known.distance = distance;
                }
                known.growth = std::max(known.growth, grown);
                known.lost |= decides <= HELD_LOST * std::fabs(known.place);
                return;
            }
        found_.push_back({k, decides <= HELD_LOST * std::fabs(place), place, distance, grown});
    }

    std::vector<double> grown_, anchor_, slope_;
    std::vector<Held> found_;
};
