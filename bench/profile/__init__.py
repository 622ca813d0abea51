"""Where does a step of our engine spend its time on the GPU?"""
