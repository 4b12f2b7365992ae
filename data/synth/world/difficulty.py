"""How hard the set is: every knob in one place. A change here is a change of the set: raise GENERATOR_VERSION.

Sizes are in pixels of an image scaled to 640 px width, so they mean the same at any `image_px`.
"""

# --- what is labelled -------------------------------------------------------------------------------------------------
MIN_VISIBLE_SHARE = 0.4  # an object hidden more than this leaves (or cut off by the frame) is drawn but not labelled
MIN_VISIBLE_CORE = 0.5  # the same for the part that makes it what it is: a light's lit lens, an arrow's head
MIN_SHORT_SIDE_PX = 4.0  # a smaller box is not labelled
MIN_LONG_SIDE_PX = 7.0
MIN_CONTRAST = 12.0  # levels of 255 by which an object must differ from its surroundings to be labelled

# --- how large things are: log-uniform between the bounds, drawn for the class's longer side --------------------------
SIZE_PX = {"light": (14.0, 270.0), "sign": (11.0, 210.0), "arrow": (6.0, 130.0)}  # for arrows: the height in the image
SIZE_BIAS = {"light": 0.8, "sign": 0.72, "arrow": 0.65}  # above 1: more small ones
LOOKALIKE_MIN_PX = 15.0  # a distractor that differs in a detail is at least so large that a person can tell

# --- conditions: share of images -------------------------------------------------------------------------------------
DAYTIME = {"day": 0.58, "dusk": 0.18, "night": 0.24}
RAIN_SHARE = 0.2
FOG_SHARE = 0.06

# --- the picture ------------------------------------------------------------------------------------------------------
NOISE = (0.004, 0.018)  # deviation of sensor noise in display values 0..1; night doubles it
MOTION_BLUR_SHARE = 0.2
MOTION_BLUR_PX = (1.5, 4.5)
DEFOCUS_SHARE = 0.15
DEFOCUS_PX = (0.6, 1.5)  # deviation of the blur
EXPOSURE_STOPS = 0.45  # deviation
JPEG_QUALITY = (58, 90)
COLOUR_CAST = 0.025  # deviation of the gain of each channel

# --- wear and damage --------------------------------------------------------------------------------------------------
PAINT_WEAR = (0.1, 0.65)  # 0: fresh paint, 1: hardly any left
SIGN_FADE = (0.0, 0.55)
SIGN_TURN_DEG = 32  # largest turn about the pole
SIGN_TILT_DEG = 9

# --- things that look alike or stand in front: mean number per image --------------------------------------------------
OTHER_SIGNS = 1.5
OTHER_LIGHTS = 0.8
OTHER_MARKINGS = 0.9
VEHICLES = 2.6
OCCLUDED_SHARE = 0.16  # of objects are partly hidden by something in front
OCCLUDED = (0.15, 0.5)  # how much of them
CUT_SHARE = 0.08  # of signs and lights may be cut by the edge of the frame
